// What the fakes and the tests share: a CUDA that exists in memory only.
#pragma once

#include <functional>

// Puts `work` on a stream of the fake, to be computed: it runs when the stream is waited for.
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
// A clock of the GPU's engines: what an operation of each takes; one does one operation after another, and so does one
// stream. The host's own work takes no time, waiting does.
__attribute__((visibility("default"))) void fake_cuda_costs(double copy_in, double compute, double copy_out);
__attribute__((visibility("default"))) double fake_cuda_now(void);
// Let this function fail from now on; an empty name lets all succeed.
__attribute__((visibility("default"))) void fake_cuda_fail(const char* function);
__attribute__((visibility("default"))) bool fake_cuda_fails(const char* function);
}
