// What the fakes and the tests share: a CUDA that exists in memory only.
#pragma once

#include <functional>

// Runs `work` on a stream of the fake: at once, or when the graph that is being recorded is launched.
__attribute__((visibility("default"))) void fake_cuda_enqueue(void* stream, std::function<void()> work);

extern "C" {
__attribute__((visibility("default"))) bool fake_cuda_is_recording(const void* stream);
// How much is allocated and not freed: device and pinned memory, streams, graphs.
__attribute__((visibility("default"))) int fake_cuda_live(void);
__attribute__((visibility("default"))) int fake_cuda_launches(void);
// How often something was destroyed before what still needed it.
__attribute__((visibility("default"))) int fake_cuda_misordered(void);
// Counts one such time, unless the memory at `address` is still allocated, or unless `is_alive`.
__attribute__((visibility("default"))) void fake_cuda_require_memory(const void* address);
__attribute__((visibility("default"))) void fake_cuda_require(bool is_alive);
// Let this function fail from now on; an empty name lets all succeed.
__attribute__((visibility("default"))) void fake_cuda_fail(const char* function);
}
