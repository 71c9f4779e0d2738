// The CUDA runtime as an engine needs it, loaded at run time: memory, a stream, graphs. What it makes is owned:
// handles.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "backend/handles.h"
#include "backend/shared_library.h"

namespace deepvit {

class Cuda {
 public:
  // Throws DEEPVIT_MISSING: no library, no driver, no GPU, or not this one.
  Cuda(const std::string& library, int device);

  std::string compute_capability() const { return compute_capability_; }
  std::string gpu() const;     // its name
  std::string driver() const;  // the newest CUDA that the driver takes, as in 13.0

  // Makes the device the calling thread's; needed once in every thread before anything else.
  void use() const;

  DeviceMemory allocate(std::size_t bytes) const;
  PinnedMemory allocate_pinned(std::size_t bytes) const;

  Stream create_stream() const;
  void synchronize(cudaStream_t stream) const;
  void copy_to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const;
  void copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const;

  // From here to `end_capture` the stream records what it is given, instead of running it.
  Capture begin_capture(cudaStream_t stream) const;
  GraphExec end_capture(Capture capture) const;
  void launch(cudaGraphExec_t graph, cudaStream_t stream) const;

 private:
  void check(cudaError_t error, const char* what) const;

  SharedLibrary library_;
  int device_;
  std::string compute_capability_;

#define DEEPVIT_CUDA(name) decltype(&::name) name##_ = library_.function<decltype(::name)>(#name)
  DEEPVIT_CUDA(cudaGetErrorString);
  DEEPVIT_CUDA(cudaGetDeviceCount);
  DEEPVIT_CUDA(cudaSetDevice);
  DEEPVIT_CUDA(cudaDeviceGetAttribute);
  DEEPVIT_CUDA(cudaDriverGetVersion);
  DEEPVIT_CUDA(cudaMalloc);
  DEEPVIT_CUDA(cudaFree);
  DEEPVIT_CUDA(cudaHostAlloc);
  DEEPVIT_CUDA(cudaFreeHost);
  DEEPVIT_CUDA(cudaStreamCreateWithFlags);
  DEEPVIT_CUDA(cudaStreamDestroy);
  DEEPVIT_CUDA(cudaStreamSynchronize);
  DEEPVIT_CUDA(cudaMemcpyAsync);
  DEEPVIT_CUDA(cudaStreamBeginCapture);
  DEEPVIT_CUDA(cudaStreamEndCapture);
  DEEPVIT_CUDA(cudaGraphInstantiateWithFlags);
  DEEPVIT_CUDA(cudaGraphLaunch);
  DEEPVIT_CUDA(cudaGraphDestroy);
  DEEPVIT_CUDA(cudaGraphExecDestroy);
#undef DEEPVIT_CUDA

// CUDA 12's header makes a macro of the name, which the library has with that macro expanded.
#define DEEPVIT_TEXT(name) #name
#define DEEPVIT_CUDA(field, name) decltype(&::name) field = library_.function<decltype(::name)>(DEEPVIT_TEXT(name))
  DEEPVIT_CUDA(properties_, cudaGetDeviceProperties);
#undef DEEPVIT_CUDA
#undef DEEPVIT_TEXT
};

}  // namespace deepvit
