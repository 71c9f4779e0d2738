// Kernels that TensorRT-RTX compiled for a plan, on disk: in the folder, by the names and in the form of
// runtime/trt/kernel_cache.py, so that both runtimes read what either wrote.
#pragma once

#include <optional>
#include <string>

#include "artifact/artifact.h"
#include "options.h"

namespace deepvit {

struct KernelCacheKey {
  std::string plan_sha256;
  std::string version;             // of TensorRT-RTX
  std::string gpu;                 // as CUDA names it
  std::string compute_capability;  // as in 8.9
  std::string driver;              // the newest CUDA that it takes, as in 13.0
};

// Where they are kept; empty, with a warning, where they cannot be: others could write to the folder, say.
std::string kernel_cache_path(const KernelCacheKey& key, const Log& log);

// What `write_kernels` wrote to `path`; none where nothing is there, or with a warning something else.
std::optional<Bytes> read_kernels(const std::string& path, const Log& log);

// Replaces `path` in one step; false, with a warning, where that cannot be.
bool write_kernels(const std::string& path, const void* kernels, std::size_t size, const Log& log);

}  // namespace deepvit
