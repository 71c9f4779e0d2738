// An opened artifact: what deepvit_model points to.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "backend/backend.h"
#include "error.h"
#include "image/preprocess.h"
#include "options.h"

namespace deepvit {

// What became of the images of one call, by their position in it.
class Failures {
 public:
  Failures(deepvit_status* statuses, std::size_t count) : statuses_(statuses), is_one_(count == 1) {
    std::fill_n(statuses, count, DEEPVIT_OK);
  }

  void add(std::size_t image, const Failure& failure) {
    statuses_[image] = failure.status;
    messages.push_back((is_one_ ? std::string() : "image " + std::to_string(image) + ": ") + failure.what());
  }

  std::vector<std::string> messages;

 private:
  deepvit_status* statuses_;
  bool is_one_;
};

class Model {
 public:
  Model(const std::string& folder, const Options& options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Manifest& manifest() const { return artifact_.manifest(); }
  const std::string& description() const { return description_; }
  BatchRange batch() const { return backend_->batch(); }
  int max_megapixels() const { return max_megapixels_; }

  // Any number of images, split at the backend's largest batch and padded to its least. Throws DEEPVIT_NOT_FINITE
  // once all logits are written.
  void run(const void* input, std::size_t count, float* logits);

  // Encoded images → logits; gives every image's status, and why those that failed did. A failed image has logits of
  // zero.
  std::vector<std::string> classify(const deepvit_bytes* images, std::size_t count, float* logits,
                                    deepvit_status* statuses);

 private:
  void prove();
  void run_all(const std::uint8_t* input, std::size_t count, float* logits);
  void run_padded(const std::uint8_t* input, std::size_t count, float* logits);
  void classify_part(const deepvit_bytes* images, std::size_t first, std::size_t end, float* logits,
                     Failures& failures);

  Artifact artifact_;
  std::unique_ptr<Backend> backend_;
  std::string description_;
  int max_megapixels_;
};

}  // namespace deepvit
