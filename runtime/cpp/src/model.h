// An opened artifact: what deepvit_model points to.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
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
    messages_[image] = (is_one_ ? std::string() : "image " + std::to_string(image) + ": ") + failure.what();
  }

  // In the order of the images.
  std::vector<std::string> messages() const {
    std::vector<std::string> all;
    for (const auto& [image, message] : messages_) all.push_back(message);
    return all;
  }

 private:
  std::map<std::size_t, std::string> messages_;
  deepvit_status* statuses_;
  bool is_one_;
};

// A run that was begun, in batches. Nobody has to wait for it, and it may outlive its model.
class PendingRun {
 public:
  struct Batch {
    std::unique_ptr<Run> run;
    std::size_t count;
    std::size_t rows;  // `count`, or more where the backend takes no fewer
  };

  PendingRun(std::vector<Batch> batches, std::size_t classes) : batches_(std::move(batches)), classes_(classes) {}

  std::size_t floats() const;

  // Waits, and writes the logits, not finite ones included. Throws DEEPVIT_DEVICE_FAILED.
  void collect(float* logits);

  // The same, but throws DEEPVIT_NOT_FINITE once all logits are written, where some are not.
  void result(float* logits);

 private:
  std::vector<Batch> batches_;
  std::size_t classes_;
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

  // Begins such a run; the images can be changed afterwards.
  PendingRun begin(const void* input, std::size_t count);

  // Encoded images → logits; gives every image's status, and why those that failed did. A failed image has logits of
  // zero.
  std::vector<std::string> classify(const deepvit_bytes* images, std::size_t count, float* logits,
                                    deepvit_status* statuses);

 private:
  void prove();
  // Images that were decoded and begun to run.
  struct Decoded {
    std::vector<std::size_t> images;  // which image each row is
    PendingRun run;
  };

  PendingRun::Batch begin_batch(const std::uint8_t* input, std::size_t count);
  std::optional<Decoded> begin_decoded(const deepvit_bytes* images, std::size_t first, std::size_t end,
                                       Failures& failures);
  void finish(Decoded& decoded, float* logits, Failures& failures) const;

  Artifact artifact_;
  std::unique_ptr<Backend> backend_;
  std::string description_;
  int max_megapixels_;
};

}  // namespace deepvit
