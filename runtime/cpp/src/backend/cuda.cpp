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

std::string Cuda::gpu() const {
  cudaDeviceProp properties{};
  check(properties_(&properties, device_), "ask the GPU");
  return properties.name;
}

std::string Cuda::driver() const {
  int newest = 0;
  check(cudaDriverGetVersion_(&newest), "ask the driver");
  return std::to_string(newest / 1000) + "." + std::to_string(newest % 1000 / 10);
}

void Cuda::check(cudaError_t error, const char* what) const {
  if (error == cudaSuccess) return;
  throw device_failed(std::string("CUDA could not ") + what + ": " + cudaGetErrorString_(error));
}

void Cuda::use() const { check(cudaSetDevice_(device_), "use the GPU"); }

DeviceMemory Cuda::allocate(std::size_t bytes) const {
  void* address = nullptr;
  check(cudaMalloc_(&address, std::max<std::size_t>(bytes, 1)), "allocate memory on the GPU");
  return DeviceMemory(address, {cudaFree_});
}

PinnedMemory Cuda::allocate_pinned(std::size_t bytes) const {
  void* address = nullptr;
  check(cudaHostAlloc_(&address, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault), "allocate pinned memory");
  return PinnedMemory(address, {cudaFreeHost_});
}

Stream Cuda::create_stream() const {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags_(&stream, cudaStreamNonBlocking), "create a stream");
  return Stream(stream, {cudaStreamDestroy_});
}

void Cuda::synchronize(cudaStream_t stream) const { check(cudaStreamSynchronize_(stream), "finish the run"); }

void Cuda::copy_to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const {
  check(cudaMemcpyAsync_(to, from, bytes, cudaMemcpyHostToDevice, stream), "copy to the GPU");
}

void Cuda::copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) const {
  check(cudaMemcpyAsync_(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copy from the GPU");
}

Capture Cuda::begin_capture(cudaStream_t stream) const {
  check(cudaStreamBeginCapture_(stream, cudaStreamCaptureModeThreadLocal), "record a graph");
  return Capture(stream, {cudaStreamEndCapture_, cudaGraphDestroy_});
}

GraphExec Cuda::end_capture(Capture capture) const {
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture_(capture.release(), &recorded), "record a graph");
  const Graph graph(recorded, {cudaGraphDestroy_});
  cudaGraphExec_t launchable = nullptr;
  check(cudaGraphInstantiateWithFlags_(&launchable, graph.get(), 0), "make a graph");
  return GraphExec(launchable, {cudaGraphExecDestroy_});
}

void Cuda::launch(cudaGraphExec_t graph, cudaStream_t stream) const {
  check(cudaGraphLaunch_(graph, stream), "launch a graph");
}

}  // namespace deepvit
