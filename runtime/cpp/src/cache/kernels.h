// How an engine's contexts are made, and what TensorRT-RTX compiles for them; runtime/trt/kernel_cache.py says why.
// TensorRT compiles nothing at run time: with its headers this makes contexts and no more.
#pragma once

#include <NvInferRuntime.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "cache/kernel_cache.h"
#include "options.h"

namespace deepvit {

// Outlives the contexts, and is outlived by the engine.
class Kernels {
 public:
  // `path` is where they are kept; empty: nowhere. Throws DEEPVIT_DEVICE_FAILED.
  Kernels(nvinfer1::ICudaEngine& engine, std::string path, Log log);
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // A context that takes memory from its user; null where TensorRT refuses.
  std::unique_ptr<nvinfer1::IExecutionContext> create_context();

  // Takes note that a batch size was run, for which kernels were compiled if it was the first time.
  void has_run(std::size_t batch);

  // Writes what is new, where `when_idle` calls what it is given because no run is under way: nobody says that the
  // library's cache can be read during one. A warning tells that it cannot be written, and is the last try.
  template <typename WhenIdle>
  void keep(const WhenIdle& when_idle) {
    if (!is_changed_) return;
    const std::lock_guard<std::mutex> lock(writing_);
    std::unique_ptr<nvinfer1::IHostMemory> content;
    const bool is_idle = when_idle([&] { content = take_content(); });
    if (is_idle) write(content.get());
  }

 private:
  void load();
  std::unique_ptr<nvinfer1::IHostMemory> take_content();
  void write(const nvinfer1::IHostMemory* content);

  nvinfer1::ICudaEngine& engine_;
  std::string path_;
  const Log log_;
  std::atomic<bool> is_changed_{false};
  std::mutex writing_;
  std::mutex noting_;
  std::set<std::size_t> batches_;
  std::string kept_;  // the hash of what is on disk
#ifdef TRT_MAJOR_RTX  // which TensorRT-RTX's headers alone define
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  std::unique_ptr<nvinfer1::IRuntimeConfig> config_;  // refers to the cache
#endif
};

}  // namespace deepvit
