#include "cache/kernels.h"

#include <utility>

#include "artifact/sha256.h"
#include "backend/tensorrt_log.h"

namespace deepvit {

void Kernels::has_run(std::size_t batch) {
  const std::lock_guard<std::mutex> lock(noting_);
  if (!path_.empty() && batches_.insert(batch).second) is_changed_ = true;
}

void Kernels::write(const nvinfer1::IHostMemory* content) {
  const auto give_up = [&] {
    const std::lock_guard<std::mutex> lock(noting_);
    path_.clear();
  };
  if (content == nullptr) {
    log_(DEEPVIT_LOG_WARNING, "compiled kernels cannot be kept in " + path_ + ": TensorRT-RTX does not give them");
    give_up();
    return;
  }
  std::string hash = sha256_of(content->data(), content->size());
  if (hash == kept_) return;
  if (!write_kernels(path_, content->data(), content->size(), log_)) give_up();
  kept_ = std::move(hash);
}

#ifdef TRT_MAJOR_RTX

Kernels::Kernels(nvinfer1::ICudaEngine& engine, std::string path, Log log)
    : engine_(engine), path_(std::move(path)), log_(std::move(log)), config_(engine.createRuntimeConfig()) {
  TensorRtLog::require(config_ != nullptr, "make a configuration for running");
  config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
  config_->setDynamicShapesKernelSpecializationStrategy(nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
  cache_.reset(config_->createRuntimeCache());
  TensorRtLog::require(cache_ != nullptr, "make a cache of kernels");
  load();
  TensorRtLog::require(config_->setRuntimeCache(*cache_), "use a cache of kernels");
}

void Kernels::load() {
  if (path_.empty()) return;
  const std::optional<Bytes> kernels = read_kernels(path_, log_);
  if (!kernels) return;
  if (cache_->deserialize(kernels->data(), kernels->size())) {
    kept_ = sha256_of(kernels->data(), kernels->size());
  } else {
    log_(DEEPVIT_LOG_WARNING, "compiled kernels in " + path_ + " are not used: TensorRT-RTX refuses them");
  }
}

std::unique_ptr<nvinfer1::IExecutionContext> Kernels::create_context() {
  return std::unique_ptr<nvinfer1::IExecutionContext>(engine_.createExecutionContext(config_.get()));
}

std::unique_ptr<nvinfer1::IHostMemory> Kernels::take_content() {
  is_changed_ = false;
  return std::unique_ptr<nvinfer1::IHostMemory>(cache_->serialize());
}

#else

Kernels::Kernels(nvinfer1::ICudaEngine& engine, std::string, Log log) : engine_(engine), log_(std::move(log)) {}

std::unique_ptr<nvinfer1::IExecutionContext> Kernels::create_context() {
  return std::unique_ptr<nvinfer1::IExecutionContext>(
      engine_.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
}

std::unique_ptr<nvinfer1::IHostMemory> Kernels::take_content() { return nullptr; }

#endif

}  // namespace deepvit
