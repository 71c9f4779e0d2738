// The C ABI: arguments are checked, exceptions become statuses, and the message is kept for the calling thread.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "deepvit/deepvit.h"
#include "error.h"
#include "model.h"

struct deepvit_model {
  deepvit::Model model;
};

struct deepvit_run_pending {
  deepvit::PendingRun run;
};

namespace {

constexpr std::size_t kMostImages = 1 << 20;  // of one call; bounds every product of sizes below

thread_local std::string last_error;

// One line, whatever a library said.
void keep(const char* message) noexcept {
  try {
    last_error = message;
    std::replace_if(
        last_error.begin(), last_error.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  } catch (...) {
    last_error.clear();
  }
}

template <typename Call>
deepvit_status guarded(const Call& call) noexcept {
  try {
    last_error.clear();
    call();
    return DEEPVIT_OK;
  } catch (const deepvit::Failure& failure) {
    keep(failure.what());
    return failure.status;
  } catch (const std::bad_alloc&) {
    keep("not enough memory");
    return DEEPVIT_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    keep(error.what());
    return DEEPVIT_INTERNAL;
  } catch (...) {
    keep("an exception that says nothing");
    return DEEPVIT_INTERNAL;
  }
}

void require(bool is_met, const std::string& expected) {
  if (!is_met) throw deepvit::invalid_argument(expected);
}

void require_room(std::size_t capacity, std::size_t needed, const char* what) {
  require(capacity >= needed,
          std::string(what) + " has room for " + std::to_string(capacity) + ", expected " + std::to_string(needed));
}

void require_count(std::size_t count) {
  require(count >= 1 && count <= kMostImages,
          "count is " + std::to_string(count) + ", expected 1 to " + std::to_string(kMostImages));
}

deepvit_info info_of(const deepvit::Model& model) {
  const deepvit::Manifest& manifest = model.manifest();
  deepvit_info info{};
  info.variant = manifest.variant.c_str();
  info.precision = manifest.precision.c_str();
  info.backend = model.description().c_str();
  info.classes = manifest.classes;
  info.crop = static_cast<std::size_t>(manifest.preprocess.crop);
  info.input_bytes = deepvit::input_bytes(manifest.preprocess);
  info.batch_max = model.batch().max;
  info.takes_uint8 = manifest.preprocess.is_nhwc ? 1 : 0;
  info.random_weights = manifest.has_random_weights ? 1 : 0;
  return info;
}

}  // namespace

extern "C" {

uint32_t deepvit_abi_version(void) { return DEEPVIT_ABI_VERSION; }

const char* deepvit_last_error(void) { return last_error.c_str(); }

deepvit_status deepvit_open(const char* folder, const deepvit_options* options, deepvit_model** model) {
  return guarded([&] {
    require(model != nullptr, "model is null, expected where to put it");
    *model = nullptr;
    require(folder != nullptr, "folder is null, expected an artifact");
    *model = new deepvit_model{deepvit::Model(folder, deepvit::options_from(options))};
  });
}

void deepvit_close(deepvit_model* model) { delete model; }

deepvit_status deepvit_get_info(const deepvit_model* model, deepvit_info* info) {
  return guarded([&] {
    require(model != nullptr && info != nullptr, "model or info is null");
    const std::size_t size = info->struct_size;
    require(size >= sizeof(size) && size <= 4096,
            "info.struct_size is " + std::to_string(size) + ", expected sizeof(deepvit_info)");
    deepvit_info found = info_of(model->model);
    found.struct_size = size;
    std::memset(info, 0, size);
    std::memcpy(info, &found, std::min(size, sizeof found));
  });
}

const char* deepvit_class_name(const deepvit_model* model, size_t index) {
  if (model == nullptr) return nullptr;
  const std::vector<std::string>& names = model->model.manifest().class_names;
  return index < names.size() ? names[index].c_str() : nullptr;
}

deepvit_status deepvit_crop_encoded(const deepvit_model* model, const void* data, size_t size, uint8_t* crop,
                                    size_t capacity) {
  return guarded([&] {
    require(model != nullptr && data != nullptr && crop != nullptr, "model, data or crop is null");
    const deepvit::Preprocessing& preprocessing = model->model.manifest().preprocess;
    require_room(capacity, deepvit::crop_bytes(preprocessing), "crop");
    const deepvit::Encoded encoded{static_cast<const std::uint8_t*>(data), size};
    deepvit::crop_encoded(encoded, preprocessing, model->model.max_megapixels(), crop);
  });
}

deepvit_status deepvit_input_from_crops(const deepvit_model* model, const uint8_t* crops, size_t count, void* input,
                                        size_t capacity) {
  return guarded([&] {
    require(model != nullptr && crops != nullptr && input != nullptr, "model, crops or input is null");
    require_count(count);
    const deepvit::Preprocessing& preprocessing = model->model.manifest().preprocess;
    require_room(capacity, count * deepvit::input_bytes(preprocessing), "input");
    deepvit::input_from_crops(crops, count, preprocessing, input);
  });
}

deepvit_status deepvit_run(deepvit_model* model, const void* input, size_t count, float* logits, size_t capacity) {
  return guarded([&] {
    require(model != nullptr && input != nullptr && logits != nullptr, "model, input or logits is null");
    require_count(count);
    require_room(capacity, count * model->model.manifest().classes, "logits");
    model->model.run(input, count, logits);
  });
}

deepvit_status deepvit_begin(deepvit_model* model, const void* input, size_t count, deepvit_run_pending** run) {
  return guarded([&] {
    require(run != nullptr, "run is null, expected where to put it");
    *run = nullptr;
    require(model != nullptr && input != nullptr, "model or input is null");
    require_count(count);
    *run = new deepvit_run_pending{model->model.begin(input, count)};
  });
}

deepvit_status deepvit_wait(deepvit_run_pending* run, float* logits, size_t capacity) {
  return guarded([&] {
    require(run != nullptr && logits != nullptr, "run or logits is null");
    require_room(capacity, run->run.floats(), "logits");
    run->run.result(logits);
  });
}

void deepvit_free_run(deepvit_run_pending* run) { delete run; }

deepvit_status deepvit_classify_encoded(deepvit_model* model, const deepvit_bytes* images, size_t count, float* logits,
                                        size_t capacity, deepvit_status* statuses) {
  return guarded([&] {
    require(model != nullptr && images != nullptr && logits != nullptr, "model, images or logits is null");
    require_count(count);
    require(statuses != nullptr || count == 1, "statuses is null, expected room for " + std::to_string(count));
    require_room(capacity, count * model->model.manifest().classes, "logits");
    for (std::size_t i = 0; i < count; ++i) {
      require(images[i].data != nullptr || images[i].size == 0, "image " + std::to_string(i) + " is null");
    }
    deepvit_status only = DEEPVIT_OK;
    if (statuses == nullptr) statuses = &only;
    const auto messages = model->model.classify(images, count, logits, statuses);
    if (messages.empty()) return;
    std::string all;
    for (const std::string& message : messages) all += (all.empty() ? "" : "; ") + message;
    throw deepvit::Failure(*std::find_if(statuses, statuses + count, [](deepvit_status s) { return s != DEEPVIT_OK; }),
                           all);
  });
}

}  // extern "C"
