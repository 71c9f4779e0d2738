// What runs a model. One file per backend beside this one, or in cpu/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "options.h"

namespace deepvit {

// A run that was begun. Nobody has to wait for it, and it may outlive its backend.
class Run {
 public:
  Run() = default;
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  virtual ~Run() = default;

  // Waits, and writes (count, classes) float32. Throws DEEPVIT_DEVICE_FAILED.
  virtual void result(float* logits) = 0;
};

// A run that was made when it was begun, by call(float* logits).
class EndedRun final : public Run {
 public:
  template <typename Call>
  EndedRun(std::size_t floats, const Call& call) : logits_(floats) {
    try {
      call(logits_.data());
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  void result(float* logits) override {
    if (error_) std::rethrow_exception(error_);
    std::copy(logits_.begin(), logits_.end(), logits);
  }

 private:
  std::vector<float> logits_;
  std::exception_ptr error_;
};

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

  // How many runs can be under way: while one is computed, the images of another are copied.
  virtual std::size_t at_once() const = 0;

  // Begins a run of `count` images, within `batch()`, as the manifest's input says; they can be changed afterwards.
  virtual std::unique_ptr<Run> begin(const void* input, std::size_t count) = 0;
};

// Throw DEEPVIT_MISSING, DEEPVIT_INVALID_ARTIFACT or DEEPVIT_DEVICE_FAILED.
std::unique_ptr<Backend> open_onnxruntime(const Artifact& artifact, const Options& options);
std::unique_ptr<Backend> open_openvino(const Artifact& artifact, const Options& options);
std::unique_ptr<Backend> open_tensorrt(const Artifact& artifact, const Engine& engine, const Options& options);

// Whether OpenVINO multiplies BF16 in hardware on this processor. Throws DEEPVIT_MISSING: it is not here.
bool has_bfloat16(const Options& options);

}  // namespace deepvit
