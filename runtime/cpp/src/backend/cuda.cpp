#include "backend/cuda.h"

#include <algorithm>

#include "error.h"

namespace deepvit {
namespace {

std::vector<std::string> names() {
  const std::string major = std::to_string(CUDART_VERSION / 1000);
  return {"libcudart.so." + major, "libcudart.so"};
}

}  // namespace

Cuda::Cuda(const std::string& library, int device)
    : library_(library, names(),
               "CUDA's runtime is needed: put it on the loader's path or name it in options.cuda_library"),
      device_(device) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount_(&count);
  if (found != cudaSuccess) throw missing(std::string("no NVIDIA GPU here: ") + cudaGetErrorString_(found));
  if (device >= count) {
    throw missing("there is no GPU " + std::to_string(device) + " here, only " + std::to_string(count));
  }
  use();
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute_(&major, cudaDevAttrComputeCapabilityMajor, device), "ask the GPU");
  check(cudaDeviceGetAttribute_(&minor, cudaDevAttrComputeCapabilityMinor, device), "ask the GPU");
  compute_capability_ = std::to_string(major) + "." + std::to_string(minor);
}

void Cuda::check(cudaError_t error, const char* what) const {
  if (error == cudaSuccess) return;
  throw device_failed(std::string("CUDA could not ") + what + ": " + cudaGetErrorString_(error));
}

void Cuda::use() const { check(cudaSetDevice_(device_), "use the GPU"); }

void* Cuda::allocate(std::size_t bytes) const {
  void* address = nullptr;
  check(cudaMalloc_(&address, std::max<std::size_t>(bytes, 1)), "allocate memory on the GPU");
  return address;
}

void* Cuda::allocate_pinned(std::size_t bytes) const {
  void* address = nullptr;
  check(cudaHostAlloc_(&address, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault), "allocate pinned memory");
  return address;
}

void Cuda::free(void* address) const noexcept { cudaFree_(address); }

void Cuda::free_pinned(void* address) const noexcept { cudaFreeHost_(address); }

cudaStream_t Cuda::create_stream() const {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags_(&stream, cudaStreamNonBlocking), "create a stream");
  return stream;
}

void Cuda::destroy_stream(cudaStream_t stream) const noexcept { cudaStreamDestroy_(stream); }

void Cuda::synchronize(cudaStream_t stream) const { check(cudaStreamSynchronize_(stream), "finish the run"); }

void Cuda::copy_to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const {
  check(cudaMemcpyAsync_(to, from, bytes, cudaMemcpyHostToDevice, stream), "copy to the GPU");
}

void Cuda::copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const {
  check(cudaMemcpyAsync_(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copy from the GPU");
}

void Cuda::begin_capture(cudaStream_t stream) const {
  check(cudaStreamBeginCapture_(stream, cudaStreamCaptureModeThreadLocal), "record a graph");
}

cudaGraphExec_t Cuda::end_capture(cudaStream_t stream) const {
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture_(stream, &recorded), "record a graph");
  cudaGraphExec_t graph = nullptr;
  const cudaError_t made = cudaGraphInstantiateWithFlags_(&graph, recorded, 0);
  cudaGraphDestroy_(recorded);
  check(made, "make a graph");
  return graph;
}

void Cuda::abandon_capture(cudaStream_t stream) const noexcept {
  cudaGraph_t recorded = nullptr;
  cudaStreamEndCapture_(stream, &recorded);
  if (recorded != nullptr) cudaGraphDestroy_(recorded);
}

void Cuda::launch(cudaGraphExec_t graph, cudaStream_t stream) const {
  check(cudaGraphLaunch_(graph, stream), "launch a graph");
}

void Cuda::destroy_graph(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy_(graph); }

}  // namespace deepvit
