// What runs a model. One file per backend beside this one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "artifact/artifact.h"
#include "options.h"

namespace deepvit {

// Safe to use from several threads at once.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  virtual std::string description() const = 0;

  // The batch sizes that one run takes.
  virtual BatchRange batch() const = 0;

  // Runs `count` images, within `batch()`: as the manifest's input says → (count, classes) float32.
  virtual void run(const void* input, std::size_t count, float* logits) = 0;
};

// Throw DEEPVIT_MISSING, DEEPVIT_INVALID_ARTIFACT or DEEPVIT_DEVICE_FAILED.
std::unique_ptr<Backend> open_onnxruntime(const Artifact& artifact, const Options& options);
std::unique_ptr<Backend> open_tensorrt(const Artifact& artifact, const Engine& engine, const Options& options);

}  // namespace deepvit
