#include "fake_cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

enum Engine { kCopyIn, kCompute, kCopyOut };

struct Operation {
  Engine engine;
  std::function<void()> run;
};
using Work = std::vector<Operation>;

struct Stream {
  bool is_recording = false;
  Work recorded;
  Work waiting;                   // runs when somebody waits for it, so that reading too early shows
  double free_at = 0;             // when all of it is done, by the clock
  std::set<const void*> touched;  // memory that it copies from and to
};

struct Clock {
  double cost[3] = {};
  double free_at[3] = {};
  double now = 0;
};

std::atomic<int> live{0};
std::atomic<int> launches{0};
std::atomic<int> misordered{0};
std::mutex mutex;
std::string failing;
std::set<const void*> memory;
Clock gpu;

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

static void put(void* handle, Operation operation) {
  auto* stream = static_cast<Stream*>(handle);
  if (stream->is_recording) {
    stream->recorded.push_back(std::move(operation));
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex);
    double& engine = gpu.free_at[operation.engine];
    engine = stream->free_at = std::max({gpu.now, engine, stream->free_at}) + gpu.cost[operation.engine];
  }
  stream->waiting.push_back(std::move(operation));
}

void fake_cuda_enqueue(void* stream, std::function<void()> work) { put(stream, {kCompute, std::move(work)}); }

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
void fake_cuda_costs(double copy_in, double compute, double copy_out) {
  const std::lock_guard<std::mutex> lock(mutex);
  gpu.cost[kCopyIn] = copy_in;
  gpu.cost[kCompute] = compute;
  gpu.cost[kCopyOut] = copy_out;
}
double fake_cuda_now(void) {
  const std::lock_guard<std::mutex> lock(mutex);
  return gpu.now;
}
void fake_cuda_fail(const char* function) {
  const std::lock_guard<std::mutex> lock(mutex);
  failing = function;
}

bool fake_cuda_fails(const char* function) { return outcome(function) != cudaSuccess; }

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
  fake_cuda_require(reinterpret_cast<Stream*>(stream)->waiting.empty());
  for (const void* address : reinterpret_cast<Stream*>(stream)->touched) fake_cuda_require_memory(address);
  return release_as<Stream>(stream);
}
FAKE cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  auto* stream = reinterpret_cast<Stream*>(handle);
  Work waiting;
  waiting.swap(stream->waiting);
  for (const Operation& each : waiting) each.run();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    gpu.now = std::max(gpu.now, stream->free_at);
  }
  return outcome("cudaStreamSynchronize");
}
FAKE cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  put(stream, {kind == cudaMemcpyHostToDevice ? kCopyIn : kCopyOut, [=] { std::memcpy(to, from, bytes); }});
  reinterpret_cast<Stream*>(stream)->touched.insert({to, from});
  return outcome("cudaMemcpyAsync");
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
FAKE cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const Operation& each : *reinterpret_cast<Work*>(exec)) put(stream, each);
  ++launches;
  return cudaSuccess;
}
FAKE cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return release_as<Work>(graph); }
FAKE cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return release_as<Work>(exec); }

}  // extern "C"
