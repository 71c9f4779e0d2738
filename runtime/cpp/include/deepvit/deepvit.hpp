// deepvit for C++: the C ABI with ownership and exceptions. Header-only, so that no C++ crosses the library's border.
#ifndef DEEPVIT_DEEPVIT_HPP
#define DEEPVIT_DEEPVIT_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "deepvit/deepvit.h"

namespace deepvit {

// A call that did not give DEEPVIT_OK.
class Error : public std::runtime_error {
 public:
  Error(deepvit_status status, const char* message) : std::runtime_error(message), status_(status) {}
  deepvit_status status() const noexcept { return status_; }

 private:
  deepvit_status status_;
};

inline void check(deepvit_status status) {
  if (status != DEEPVIT_OK) throw Error(status, deepvit_last_error());
}

// One image's answer: its logits, or why there are none.
struct Answer {
  deepvit_status status = DEEPVIT_OK;
  std::vector<float> logits;
};

// A run that was begun. Nobody has to wait for it, and it may outlive its model.
class PendingRun {
 public:
  PendingRun(deepvit_run_pending* run, std::size_t floats) : run_(run), floats_(floats) {}

  // Waits, and returns (count, classes) logits.
  std::vector<float> wait() const {
    std::vector<float> logits(floats_);
    check(deepvit_wait(run_.get(), logits.data(), logits.size()));
    return logits;
  }

 private:
  struct Free {
    void operator()(deepvit_run_pending* run) const noexcept { deepvit_free_run(run); }
  };
  std::unique_ptr<deepvit_run_pending, Free> run_;
  std::size_t floats_;
};

// An opened artifact. Threads may share it.
class Model {
 public:
  explicit Model(const std::string& folder, const deepvit_options& options = DEEPVIT_OPTIONS_INIT) {
    deepvit_model* opened = nullptr;
    check(deepvit_open(folder.c_str(), &options, &opened));
    model_.reset(opened);
    info_.struct_size = sizeof(info_);
    check(deepvit_get_info(opened, &info_));
  }

  const deepvit_info& info() const noexcept { return info_; }

  // Whether the artifact names its classes.
  bool names_classes() const noexcept { return deepvit_class_name(model_.get(), 0) != nullptr; }

  // A class by its name, by its number where the artifact has no names.
  std::string class_name(std::size_t index) const {
    const char* name = deepvit_class_name(model_.get(), index);
    return name == nullptr ? std::to_string(index) : name;
  }

  // JPEG or PNG → (crop, crop, 3) uint8 RGB.
  std::vector<std::uint8_t> crop(const void* data, std::size_t size) const {
    std::vector<std::uint8_t> crop(info_.crop * info_.crop * 3);
    check(deepvit_crop_encoded(model_.get(), data, size, crop.data(), crop.size()));
    return crop;
  }

  // Crops, one after the other → what `run` takes.
  std::vector<std::byte> input_from_crops(const std::vector<std::uint8_t>& crops) const {
    const std::size_t count = crops.size() / (info_.crop * info_.crop * 3);
    std::vector<std::byte> input(count * info_.input_bytes);
    check(deepvit_input_from_crops(model_.get(), crops.data(), count, input.data(), input.size()));
    return input;
  }

  // Preprocessed images → (count, classes) logits.
  std::vector<float> run(const void* input, std::size_t count) const {
    std::vector<float> logits(count * info_.classes);
    check(deepvit_run(model_.get(), input, count, logits.data(), logits.size()));
    return logits;
  }

  // Begins such a run: an engine copies the images of one while it computes another. They can be changed afterwards.
  PendingRun begin(const void* input, std::size_t count) const {
    deepvit_run_pending* run = nullptr;
    check(deepvit_begin(model_.get(), input, count, &run));
    return {run, count * info_.classes};
  }

  // Encoded images → an answer each, or the status of an image that has none; throws where no image is to blame.
  std::vector<Answer> classify(const std::vector<deepvit_bytes>& images) const {
    std::vector<float> logits(images.size() * info_.classes);
    std::vector<deepvit_status> statuses(images.size(), DEEPVIT_OK);
    const deepvit_status status = deepvit_classify_encoded(model_.get(), images.data(), images.size(), logits.data(),
                                                           logits.size(), statuses.data());
    if (status != DEEPVIT_INVALID_IMAGE && status != DEEPVIT_NOT_FINITE) check(status);
    std::vector<Answer> answers(images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
      answers[i].status = statuses[i];
      if (statuses[i] != DEEPVIT_OK) continue;
      const float* row = logits.data() + i * info_.classes;
      answers[i].logits.assign(row, row + info_.classes);
    }
    return answers;
  }

 private:
  struct Close {
    void operator()(deepvit_model* model) const noexcept { deepvit_close(model); }
  };
  std::unique_ptr<deepvit_model, Close> model_;
  deepvit_info info_{};
};

}  // namespace deepvit

#endif
