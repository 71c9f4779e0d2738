#include "log.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <vector>

namespace reattention {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

// A function, for it is asked before this file's own variables are made.
std::vector<std::string> names() {
#ifdef TRT_MAJOR_RTX
  return {"libtensorrt_rtx.so." + std::to_string(TRT_MAJOR_RTX)};
#else
  const std::string major = std::to_string(NV_TENSORRT_MAJOR);
  return {"libnvinfer.so." + major, "libnvinfer_lean.so." + major};
#endif
}

nvinfer1::ILogger* logger() {
  if (nvinfer1::ILoggerFinder* finder = logger_finder) return finder->findLogger();
  auto* const of_tensorrt = reinterpret_cast<decltype(&::getLogger)>(tensorrt_symbol("getLogger"));
  return of_tensorrt == nullptr ? nullptr : of_tensorrt();
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void log_error(const std::string& line) noexcept {
  try {
    const std::string text = "deepvit::ReAttention: " + line;
    if (nvinfer1::ILogger* found = logger()) {
      found->log(nvinfer1::ILogger::Severity::kERROR, text.c_str());
    } else {
      std::fprintf(stderr, "error: %s\n", text.c_str());
    }
  } catch (...) {  // TensorRT must not see an exception; what is lost is a line of its log
  }
}

void* tensorrt_symbol(const char* name) noexcept {
  if (void* found = dlsym(RTLD_DEFAULT, name)) return found;
  for (const std::string& library : names()) {  // loaded by others, who may keep its names to themselves
    void* handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) continue;
    void* found = dlsym(handle, name);
    dlclose(handle);
    return found;
  }
  return nullptr;
}

}  // namespace reattention
