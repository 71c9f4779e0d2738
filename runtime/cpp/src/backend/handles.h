// Who frees what: a deleter and an owning pointer for each handle of CUDA. Nothing else frees them.
//
// CUDA is loaded at run time. A deleter therefore carries the one function that frees, not a pointer to the Cuda in
// which that function was found: libraries are never unloaded (shared_library.h), so that no handle depends on how long
// its Cuda lives, and no order need be kept for it. For the same reason a library has no deleter here. TensorRT's
// objects have destructors: std::unique_ptr alone is enough for them.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <type_traits>

namespace deepvit {

// `Kind` keeps apart handles that CUDA gives the same type: what one function made, another must not free.
template <typename Handle, typename Kind>
struct FreeHandle {
  cudaError_t (*function)(Handle) = nullptr;
  // CUDA's answer is of no use here: it may be the error of an earlier run, which was thrown already.
  void operator()(Handle handle) const noexcept { function(handle); }
};

template <typename Handle, typename Kind>
using OwnedHandle = std::unique_ptr<std::remove_pointer_t<Handle>, FreeHandle<Handle, Kind>>;

using DeviceMemory = OwnedHandle<void*, struct OnDevice>;  // cudaFree
using PinnedMemory = OwnedHandle<void*, struct OnHost>;    // cudaFreeHost
using Stream = OwnedHandle<cudaStream_t, struct WorkInOrder>;
using Graph = OwnedHandle<cudaGraph_t, struct Recorded>;
using GraphExec = OwnedHandle<cudaGraphExec_t, struct Launchable>;

// A stream that records instead of running. What is recorded is thrown away unless Cuda::end_capture takes it over.
struct AbandonCapture {
  decltype(&cudaStreamEndCapture) end = nullptr;
  decltype(&cudaGraphDestroy) destroy = nullptr;
  void operator()(cudaStream_t stream) const noexcept {
    cudaGraph_t recorded = nullptr;
    end(stream, &recorded);
    if (recorded != nullptr) destroy(recorded);
  }
};
using Capture = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, AbandonCapture>;

}  // namespace deepvit
