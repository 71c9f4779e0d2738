// What one thread at a time runs an engine with: a stream, pinned buffers, and an execution context per batch size.
//
// A CUDA graph records one state of an execution context, which must then stay as it is; hence a context per batch
// size, all of them on the same scratch memory, which is safe because they share the stream. Copies are not in the
// graph: so only the images that there are are copied, not those that fill up a batch size.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda.h"
#include "backend/tensorrt_log.h"
#include "cache/kernels.h"
#include "options.h"

namespace deepvit {

// One input or output: its shape without the batch, which is dimension 0.
struct Binding {
  std::string name;
  bool is_input = false;
  std::vector<std::int64_t> shape;
  std::size_t bytes = 0;  // of one image
};

// Others' parts, all of which must outlive the lease: its contexts are the engine's.
struct EngineParts {
  nvinfer1::ICudaEngine* engine;
  Kernels* kernels;
  const Cuda* cuda;
  std::vector<Binding> bindings;
  std::size_t largest_batch;
  Log log;
};

class TensorRtLease {
 public:
  explicit TensorRtLease(const EngineParts& parts);
  TensorRtLease(const TensorRtLease&) = delete;
  TensorRtLease& operator=(const TensorRtLease&) = delete;
  ~TensorRtLease();

  // Begins a run of `batch` images, which can be changed afterwards, and does not wait for it. They are run as `rows`,
  // which may be more: what the others hold is left over and answered to nobody. Throws DEEPVIT_DEVICE_FAILED; the
  // lease must then be destroyed.
  void submit(const void* input, std::size_t batch, std::size_t rows);

  // Waits for the run that was begun, and writes its output. Throws likewise.
  void collect(float* output);

 private:
  struct Shape {
    std::size_t batch = 0;
    std::size_t runs = 0;
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    GraphExec graph;  // records a state of the context: destroyed before it, hence declared after it
  };

  struct Buffer {
    DeviceMemory device;
    PinnedMemory pinned;
  };

  Shape& shape_of(std::size_t batch);
  Shape make_shape(std::size_t batch);
  void execute(Shape& shape);
  void capture(Shape& shape);

  const EngineParts parts_;
  // Declared in this order so that they are destroyed in the other: graphs and contexts, then the stream on which they
  // ran, then the memory that both had. It also holds where the constructor fails half-way.
  DeviceMemory scratch_;
  std::vector<Buffer> buffers_;  // as the bindings
  Stream stream_;
  std::list<Shape> shapes_;  // the one used last comes first
  bool has_graphs_ = true;
  std::size_t under_way_ = 0;  // images of the run that was begun
};

}  // namespace deepvit
