#include "backend/lease.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace deepvit {
namespace {

constexpr std::size_t kMostShapes = 8;         // batch sizes whose context and graph are kept
constexpr std::size_t kRunsBeforeCapture = 1;  // a plain run first: lazy initialisation cannot be recorded

}  // namespace

TensorRtLease::TensorRtLease(const EngineParts& parts) : parts_(parts) {
  parts_.cuda->use();
  scratch_ = parts_.cuda->allocate(static_cast<std::size_t>(parts_.engine->getDeviceMemorySizeV2()));
  for (const Binding& binding : parts_.bindings) {
    const std::size_t bytes = binding.bytes * parts_.largest_batch;
    buffers_.push_back({parts_.cuda->allocate(bytes), parts_.cuda->allocate_pinned(bytes)});
  }
  stream_ = parts_.cuda->create_stream();
}

TensorRtLease::~TensorRtLease() {
  if (under_way_ == 0) return;
  try {
    parts_.cuda->use();
    parts_.cuda->synchronize(stream_.get());
  } catch (const Failure& failure) {
    // The run failed, which is why the lease goes.
  }
}

void TensorRtLease::submit(const void* input, std::size_t batch, std::size_t rows) {
  const TensorRtLog::Listener listener(parts_.log);
  parts_.cuda->use();
  Shape& shape = shape_of(rows);
  if (!shape.graph && has_graphs_ && shape.runs >= kRunsBeforeCapture) capture(shape);
  under_way_ = batch;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::size_t bytes = parts_.bindings[i].bytes * batch;
    if (!parts_.bindings[i].is_input) continue;
    std::memcpy(buffers_[i].pinned.get(), input, bytes);
    parts_.cuda->copy_to_device(buffers_[i].device.get(), buffers_[i].pinned.get(), bytes, stream_.get());
  }
  if (shape.graph) {
    parts_.cuda->launch(shape.graph.get(), stream_.get());
  } else {
    execute(shape);
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::size_t bytes = parts_.bindings[i].bytes * batch;
    if (parts_.bindings[i].is_input) continue;
    parts_.cuda->copy_to_host(buffers_[i].pinned.get(), buffers_[i].device.get(), bytes, stream_.get());
  }
  ++shape.runs;
}

void TensorRtLease::collect(float* output) {
  parts_.cuda->use();
  parts_.cuda->synchronize(stream_.get());
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::size_t bytes = parts_.bindings[i].bytes * under_way_;
    if (!parts_.bindings[i].is_input) std::memcpy(output, buffers_[i].pinned.get(), bytes);
  }
  under_way_ = 0;
}

TensorRtLease::Shape& TensorRtLease::shape_of(std::size_t batch) {
  const auto found = std::find_if(shapes_.begin(), shapes_.end(), [&](const Shape& s) { return s.batch == batch; });
  if (found != shapes_.end()) {
    shapes_.splice(shapes_.begin(), shapes_, found);
    return shapes_.front();
  }
  while (shapes_.size() >= kMostShapes) shapes_.pop_back();
  shapes_.push_front(make_shape(batch));
  return shapes_.front();
}

TensorRtLease::Shape TensorRtLease::make_shape(std::size_t batch) {
  Shape shape;
  shape.batch = batch;
  shape.context = parts_.kernels->create_context();
  TensorRtLog::require(shape.context != nullptr, "create an execution context");
  shape.context->setDeviceMemoryV2(scratch_.get(), parts_.engine->getDeviceMemorySizeV2());
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const Binding& binding = parts_.bindings[i];
    if (binding.is_input) {
      nvinfer1::Dims dims{};
      dims.nbDims = static_cast<std::int32_t>(binding.shape.size() + 1);
      dims.d[0] = static_cast<std::int64_t>(batch);
      std::copy(binding.shape.begin(), binding.shape.end(), dims.d + 1);
      TensorRtLog::require(shape.context->setInputShape(binding.name.c_str(), dims),
                           "run " + binding.name + " with a batch of " + std::to_string(batch));
    }
    TensorRtLog::require(shape.context->setTensorAddress(binding.name.c_str(), buffers_[i].device.get()),
                         "bind " + binding.name);
  }
  return shape;
}

void TensorRtLease::execute(Shape& shape) {
  TensorRtLog::require(shape.context->enqueueV3(stream_.get()), "run the engine");
}

// Records the inference as a CUDA graph; where that cannot be, says so once and goes on without.
void TensorRtLease::capture(Shape& shape) {
  try {
    Capture recording = parts_.cuda->begin_capture(stream_.get());
    execute(shape);
    shape.graph = parts_.cuda->end_capture(std::move(recording));
  } catch (const Failure& failure) {
    has_graphs_ = false;
    parts_.log(DEEPVIT_LOG_WARNING,
               std::string("running without CUDA graphs, which is slower for small batches: ") + failure.what());
  }
}

}  // namespace deepvit
