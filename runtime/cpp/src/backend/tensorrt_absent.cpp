// In the place of tensorrt.cpp where TensorRT's headers were not found.
#include "backend/backend.h"
#include "error.h"

namespace deepvit {

std::unique_ptr<Backend> open_tensorrt(const Artifact&, const Engine& engine, const Options&) {
  throw missing(engine.file +
                " needs TensorRT; this library was compiled without: give cmake "
                "-DDEEPVIT_TENSORRT_INCLUDE=DIR and -DDEEPVIT_CUDA_INCLUDE=DIR");
}

}  // namespace deepvit
