#include "driver.h"

#include <dlfcn.h>

#include <stdexcept>

namespace reattention {
namespace {

void* opened(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(std::string("NVIDIA's driver is needed: ") + dlerror());
  return handle;
}

}  // namespace

Driver& Driver::of_process() {
  static auto* const driver = new Driver("libcuda.so.1");  // never destroyed: TensorRT may run while a process ends
  return *driver;
}

Driver::Driver(const char* library) : handle_(opened(library)) {}

void* Driver::symbol(const char* name) const {
  void* found = dlsym(handle_, name);
  if (found == nullptr) {
    throw std::runtime_error(std::string("NVIDIA's driver has no ") + name + "; expected one of CUDA 12 or newer");
  }
  return found;
}

void Driver::check(CUresult result, const std::string& what) const {
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  const char* why = nullptr;
  cuGetErrorName_(result, &name);
  cuGetErrorString_(result, &why);
  throw std::runtime_error("CUDA could not " + what + ": " + (name == nullptr ? std::to_string(result) : name) + ", " +
                           (why == nullptr ? "it does not say why" : why));
}

std::pair<int, int> Driver::compute_capability() const {
  CUdevice device = 0;
  int major = 0;
  int minor = 0;
  check(cuCtxGetDevice_(&device), "tell the thread's GPU");
  check(cuDeviceGetAttribute_(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device), "ask the GPU");
  check(cuDeviceGetAttribute_(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device), "ask the GPU");
  return {major, minor};
}

CUfunction Driver::function(const Cubin& cubin, const Kernel& kernel) {
  Context context = 0;
  check(cuCtxGetId_(nullptr, &context), "tell the thread's context");
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = functions_.find({context, &kernel});
  if (known != functions_.end()) return known->second;
  auto module = modules_.find({context, &cubin});
  if (module == modules_.end()) {
    CUmodule loaded = nullptr;
    check(cuModuleLoadData_(&loaded, cubin.data),
          "load the kernels for compute capability " + std::to_string(cubin.major) + "." + std::to_string(cubin.minor));
    module = modules_.emplace(std::make_pair(context, &cubin), loaded).first;
  }
  CUfunction found = nullptr;
  check(cuModuleGetFunction_(&found, module->second, kernel.name), std::string("find ") + kernel.name);
  check(cuFuncSetAttribute_(found, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, int(kernel.shared_bytes)),
        std::string("give ") + kernel.name + " " + std::to_string(kernel.shared_bytes) + " bytes of shared memory");
  functions_.emplace(std::make_pair(context, &kernel), found);
  return found;
}

void Driver::launch(const Cubin& cubin, const Kernel& kernel, Arguments arguments, CUstream stream) {
  void* parameters[] = {&arguments.qkv,      &arguments.out,        &arguments.theta,  &arguments.bias,
                        &arguments.channels, &arguments.scale_log2, &arguments.stored, &arguments.queries};
  const auto blocks = unsigned((arguments.queries + kernel.rows - 1) / kernel.rows);
  check(cuLaunchKernel_(function(cubin, kernel), blocks, unsigned(arguments.batch), 1, kernel.threads, 1, 1,
                        kernel.shared_bytes, stream, parameters, nullptr),
        std::string("launch ") + kernel.name);
}

}  // namespace reattention
