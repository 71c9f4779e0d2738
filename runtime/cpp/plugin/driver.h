// CUDA's driver, found when it is first needed: kernels are loaded once in every context, and launched.
#pragma once

#include <cuda.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "kernels.h"

namespace reattention {

// What a launch gives a kernel. Arrays are the GPU's: qkv (B, N, 3, H, d) and out (B, M, H·d) in 16 bits, theta (H, H),
// bias (H) and channels (3, H, d) in float32.
struct Arguments {
  const void* qkv;
  void* out;
  const void* theta;
  const void* bias;
  const void* channels;
  float scale_log2;  // the scale of the scores times log2(e)
  int stored;        // N
  int queries;       // M, the first of them
  int batch;
};

class Driver {
 public:
  // That of the process. Throws std::runtime_error while there is none.
  static Driver& of_process();

  explicit Driver(const char* library);

  // Of the calling thread's context. Throws std::runtime_error where it has none.
  std::pair<int, int> compute_capability() const;

  // The kernel in the calling thread's context, loaded if it was not. Threads may share a driver.
  CUfunction function(const Cubin& cubin, const Kernel& kernel);

  void launch(const Cubin& cubin, const Kernel& kernel, Arguments arguments, CUstream stream);

 private:
  void* symbol(const char* name) const;
  void check(CUresult result, const std::string& what) const;

  void* const handle_;
#define DRIVER(name) decltype(&::name) name##_ = reinterpret_cast<decltype(&::name)>(symbol(#name))
  DRIVER(cuGetErrorName);
  DRIVER(cuGetErrorString);
  DRIVER(cuCtxGetId);
  DRIVER(cuCtxGetDevice);
  DRIVER(cuDeviceGetAttribute);
  DRIVER(cuModuleLoadData);
  DRIVER(cuModuleGetFunction);
  DRIVER(cuFuncSetAttribute);
  DRIVER(cuLaunchKernel);
#undef DRIVER

  // By the context's number, which no later context has; a context frees its own modules.
  using Context = unsigned long long;
  std::mutex mutex_;
  std::map<std::pair<Context, const Cubin*>, CUmodule> modules_;
  std::map<std::pair<Context, const Kernel*>, CUfunction> functions_;
};

}  // namespace reattention
