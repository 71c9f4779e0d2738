#include "fake_driver.h"

#include <cuda.h>

#include <map>
#include <mutex>
#include <utility>

int fake_capability[2] = {9, 0};
thread_local unsigned long long fake_context = 1;
std::vector<Launch> fake_launches;
int fake_modules = 0;

struct CUmod_st {
  std::string cubin;
};
struct CUfunc_st {
  std::string kernel;
  std::string cubin;
  unsigned long long context;
  unsigned most_shared_bytes;
};

static std::string failing;
static std::mutex mutex;
static std::vector<CUmod_st*> modules;
static std::map<std::pair<CUmod_st*, std::string>, CUfunc_st> functions;

void fake_fail(const char* function) { failing = function; }

static CUresult outcome(const char* function) {
  if (fake_context == 0) return CUDA_ERROR_INVALID_CONTEXT;
  return failing == function ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_SUCCESS;
}

extern "C" {

FAKE CUresult cuGetErrorName(CUresult error, const char** name) {
  *name = error == CUDA_ERROR_INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR_NO_BINARY_FOR_GPU";
  return CUDA_SUCCESS;
}
FAKE CUresult cuGetErrorString(CUresult, const char** text) {
  *text = "the fake was told to fail";
  return CUDA_SUCCESS;
}
FAKE CUresult cuCtxGetId(CUcontext, unsigned long long* number) {
  *number = fake_context;
  return outcome("cuCtxGetId");
}
FAKE CUresult cuCtxGetDevice(CUdevice* device) {
  *device = 0;
  return outcome("cuCtxGetDevice");
}
FAKE CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = fake_capability[attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 0 : 1];
  return outcome("cuDeviceGetAttribute");
}
FAKE CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  if (const CUresult result = outcome("cuModuleLoadData"); result != CUDA_SUCCESS) return result;
  const std::lock_guard<std::mutex> lock(mutex);
  *module = new CUmod_st{static_cast<const char*>(image)};
  modules.push_back(*module);
  ++fake_modules;
  return CUDA_SUCCESS;
}
FAKE CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  const std::lock_guard<std::mutex> lock(mutex);
  const CUfunc_st found{name, module->cubin, fake_context, 48 * 1024};
  *function = &functions.emplace(std::make_pair(module, std::string(name)), found).first->second;
  return outcome("cuModuleGetFunction");
}
FAKE CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) function->most_shared_bytes = unsigned(value);
  return outcome("cuFuncSetAttribute");
}
FAKE CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,
                             void** parameters, void**) {
  if (function->context != fake_context) return CUDA_ERROR_INVALID_CONTEXT;
  Launch launch{function->kernel,
                function->cubin,
                {grid_x, grid_y, grid_z},
                {block_x, block_y, block_z},
                shared_bytes,
                function->most_shared_bytes,
                stream,
                {},
                *static_cast<float*>(parameters[5]),
                *static_cast<int*>(parameters[6]),
                *static_cast<int*>(parameters[7])};
  for (int i = 0; i < 5; ++i) launch.addresses[i] = *static_cast<void**>(parameters[i]);
  const std::lock_guard<std::mutex> lock(mutex);
  fake_launches.push_back(launch);
  return outcome("cuLaunchKernel");
}

}  // extern "C"
