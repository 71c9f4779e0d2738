/* CUDA's driver in name only, on memory of this process: a launch is written as a line to $LAUNCHES, and puts 42 in FP16
   into the first place of the output. */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

#define FAKE __attribute__((visibility("default")))

FAKE CUresult cuGetErrorName(CUresult error, const char** name) { return *name = "CUDA_ERROR_UNKNOWN", CUDA_SUCCESS; }
FAKE CUresult cuGetErrorString(CUresult error, const char** text) { return *text = "unknown", CUDA_SUCCESS; }
FAKE CUresult cuCtxGetId(CUcontext context, unsigned long long* number) { return *number = 1, CUDA_SUCCESS; }
FAKE CUresult cuCtxGetDevice(CUdevice* device) { return *device = 0, CUDA_SUCCESS; }
FAKE CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  const int major = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
  return *value = atoi(getenv(major ? "MAJOR" : "MINOR")), CUDA_SUCCESS;
}
FAKE CUresult cuModuleLoadData(CUmodule* module, const void* image) { return *module = (CUmodule)image, CUDA_SUCCESS; }
FAKE CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  return *function = (CUfunction)name, CUDA_SUCCESS;
}
FAKE CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) { return CUDA_SUCCESS; }
FAKE CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned block_y,
                             unsigned block_z, unsigned shared, CUstream stream, void** parameters, void** extra) {
  const unsigned short* qkv = *(void**)parameters[0];
  unsigned short* out = *(void**)parameters[1];
  const float *theta = *(void**)parameters[2], *bias = *(void**)parameters[3], *channels = *(void**)parameters[4];
  FILE* file = fopen(getenv("LAUNCHES"), "a");
  fprintf(file, "%s %u %u %u %u %u %u %g %g %g %g %d %d\n", (const char*)function, x, y, z, threads, shared, qkv[0], theta[0],
          bias[0], channels[0], *(float*)parameters[5], *(int*)parameters[6], *(int*)parameters[7]);
  fclose(file);
  out[0] = 0x5140;
  return CUDA_SUCCESS;
}
