#include "fake_cuda.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

using Work = std::vector<std::function<void()>>;

struct Stream {
  bool is_recording = false;
  Work recorded;
  std::set<const void*> touched;  // memory that it copies from and to
};

std::atomic<int> live{0};
std::atomic<int> launches{0};
std::atomic<int> misordered{0};
std::mutex mutex;
std::string failing;
std::set<const void*> memory;

cudaError_t outcome(const char* function) {
  const std::lock_guard<std::mutex> lock(mutex);
  return failing == function ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t allocate(const char* function, void** address, std::size_t bytes) {
  if (outcome(function) != cudaSuccess) return cudaErrorMemoryAllocation;
  *address = std::malloc(bytes);
  ++live;
  const std::lock_guard<std::mutex> lock(mutex);
  memory.insert(*address);
  return cudaSuccess;
}

cudaError_t release(void* address) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    memory.erase(address);
  }
  std::free(address);
  --live;
  return cudaSuccess;
}

template <typename T>
cudaError_t release_as(void* handle) {
  delete static_cast<T*>(handle);
  --live;
  return cudaSuccess;
}

}  // namespace

void fake_cuda_enqueue(void* handle, std::function<void()> work) {
  auto* stream = static_cast<Stream*>(handle);
  if (stream->is_recording) {
    stream->recorded.push_back(std::move(work));
  } else {
    work();
  }
}

extern "C" {

bool fake_cuda_is_recording(const void* stream) { return static_cast<const Stream*>(stream)->is_recording; }
int fake_cuda_live(void) { return live; }
int fake_cuda_launches(void) { return launches; }
int fake_cuda_misordered(void) { return misordered; }
void fake_cuda_require(bool is_alive) { misordered += is_alive ? 0 : 1; }
void fake_cuda_require_memory(const void* address) {
  const std::lock_guard<std::mutex> lock(mutex);
  fake_cuda_require(memory.count(address) == 1);
}
void fake_cuda_fail(const char* function) {
  const std::lock_guard<std::mutex> lock(mutex);
  failing = function;
}

#define FAKE __attribute__((visibility("default")))

FAKE const char* cudaGetErrorString(cudaError_t) { return "the fake was told to fail"; }
FAKE cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return outcome("cudaGetDeviceCount");
}
FAKE cudaError_t cudaSetDevice(int) { return outcome("cudaSetDevice"); }
FAKE cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 0;
  return cudaSuccess;
}
FAKE cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "NVIDIA Test");
  return cudaSuccess;
}
FAKE cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
FAKE cudaError_t cudaMalloc(void** address, size_t bytes) { return allocate("cudaMalloc", address, bytes); }
FAKE cudaError_t cudaFree(void* address) { return release(address); }
FAKE cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  return allocate("cudaHostAlloc", address, bytes);
}
FAKE cudaError_t cudaFreeHost(void* address) { return release(address); }
FAKE cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (outcome("cudaStreamCreateWithFlags") != cudaSuccess) return cudaErrorMemoryAllocation;
  *stream = reinterpret_cast<cudaStream_t>(new Stream());
  ++live;
  return cudaSuccess;
}
FAKE cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  for (const void* address : reinterpret_cast<Stream*>(stream)->touched) fake_cuda_require_memory(address);
  return release_as<Stream>(stream);
}
FAKE cudaError_t cudaStreamSynchronize(cudaStream_t) { return outcome("cudaStreamSynchronize"); }
FAKE cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  fake_cuda_enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  reinterpret_cast<Stream*>(stream)->touched.insert({to, from});
  const bool is_recording = reinterpret_cast<Stream*>(stream)->is_recording;
  return outcome(is_recording ? "cudaMemcpyAsync while recording" : "cudaMemcpyAsync");
}
FAKE cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  reinterpret_cast<Stream*>(stream)->is_recording = true;
  return cudaSuccess;
}
FAKE cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  auto* stream = reinterpret_cast<Stream*>(handle);
  stream->is_recording = false;
  *graph = reinterpret_cast<cudaGraph_t>(new Work(std::move(stream->recorded)));
  stream->recorded.clear();
  ++live;
  return cudaSuccess;
}
FAKE cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (outcome("cudaGraphInstantiateWithFlags") != cudaSuccess) return cudaErrorMemoryAllocation;
  *exec = reinterpret_cast<cudaGraphExec_t>(new Work(*reinterpret_cast<Work*>(graph)));
  ++live;
  return cudaSuccess;
}
FAKE cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const auto& work : *reinterpret_cast<Work*>(exec)) work();
  ++launches;
  return cudaSuccess;
}
FAKE cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return release_as<Work>(graph); }
FAKE cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return release_as<Work>(exec); }

}  // extern "C"
