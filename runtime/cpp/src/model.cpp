#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>

#include "artifact/sha256.h"
#include "image/golden.h"

namespace deepvit {
namespace {

const char* name_of(deepvit_backend backend) {
  return backend == DEEPVIT_BACKEND_TENSORRT ? "tensorrt" : "tensorrt-rtx";
}

std::unique_ptr<Backend> open_engine(const Artifact& artifact, const Options& options) {
  const std::string wanted = name_of(options.backend);
  for (const Engine& engine : artifact.manifest().engines) {
    if (engine.backend == wanted) return open_tensorrt(artifact, engine, options);
  }
  throw invalid_artifact(artifact.path("manifest.json") + " has no engine of " + wanted +
                         "; build it: python cli.py build ARTIFACT --target " + wanted);
}

// Whether OpenVINO alone here computes the graph as it is: BF16; why it cannot is logged.
bool is_for_openvino(const Artifact& artifact, const Options& options) {
  if (artifact.manifest().precision != "bf16") return false;
  try {
    if (has_bfloat16(options)) return true;
    options.log(DEEPVIT_LOG_WARNING, "not using OpenVINO: this processor has no BF16");
  } catch (const Failure& failure) {
    options.log(DEEPVIT_LOG_WARNING, std::string("not using OpenVINO: ") + failure.what());
  }
  return false;
}

// The first engine that can run here, else the graph; why another cannot is logged.
std::unique_ptr<Backend> open_best(const Artifact& artifact, const Options& options) {
  for (const Engine& engine : artifact.manifest().engines) {
    try {
      return open_tensorrt(artifact, engine, options);
    } catch (const Failure& failure) {
      if (failure.status != DEEPVIT_MISSING) throw;
      options.log(DEEPVIT_LOG_WARNING, "not using " + artifact.path(engine.file) + ": " + failure.what());
    }
  }
  return is_for_openvino(artifact, options) ? open_openvino(artifact, options) : open_onnxruntime(artifact, options);
}

std::unique_ptr<Backend> open_backend(const Artifact& artifact, const Options& options) {
  if (options.backend == DEEPVIT_BACKEND_AUTO) return open_best(artifact, options);
  if (options.backend == DEEPVIT_BACKEND_ONNXRUNTIME) return open_onnxruntime(artifact, options);
  if (options.backend == DEEPVIT_BACKEND_OPENVINO) return open_openvino(artifact, options);
  return open_engine(artifact, options);
}

Failure not_finite(const std::string& what) {
  return {DEEPVIT_NOT_FINITE,
          what + " are not finite; the precision overflows: export with --fp32, or for a GPU with --bf16"};
}

// The power of the first logits that are expected by that of the difference.
double sqnr_db(const std::vector<float>& got, const std::vector<double>& expected) {
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    signal += expected[i] * expected[i];
    noise += (got[i] - expected[i]) * (got[i] - expected[i]);
  }
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(std::max(signal, std::numeric_limits<double>::min()) / noise);
}

bool is_finite(const float* values, std::size_t count) {
  return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

// Throws DEEPVIT_NOT_FINITE where the logits of an image are not.
void require_finite(const float* logits, std::size_t count, std::size_t classes) {
  std::size_t failed = 0;
  for (std::size_t i = 0; i < count; ++i) failed += is_finite(logits + i * classes, classes) ? 0 : 1;
  if (failed > 0)
    throw not_finite("the logits of " + std::to_string(failed) + " of " + std::to_string(count) + " images");
}

}  // namespace

Model::Model(const std::string& folder, const Options& options)
    : artifact_(folder),
      backend_(open_backend(artifact_, options)),
      description_(backend_->description()),
      max_megapixels_(options.max_megapixels) {
  prove();
  options.log(DEEPVIT_LOG_INFO, folder + ": " + description_);
  if (manifest().has_random_weights) {
    options.log(DEEPVIT_LOG_WARNING, folder + ": random weights: its answers mean nothing");
  }
}

// Holds preprocessing and backend against the golden image and logits; those that the manifest has, if any.
void Model::prove() {
  if (!manifest().golden) return;
  const Golden& golden = *manifest().golden;
  const Preprocessing& preprocessing = manifest().preprocess;
  std::vector<std::uint8_t> crop(crop_bytes(preprocessing)), input(input_bytes(preprocessing));
  resize_and_crop(golden_image(preprocessing.crop), preprocessing, crop.data());
  input_from_crops(crop.data(), 1, preprocessing, input.data());
  if (sha256_of(input.data(), input.size()) != golden.input_sha256) {
    throw invalid_artifact(artifact_.path("manifest.json") +
                           ": preprocess makes another input of the golden image than at export: it was changed; "
                           "export again");
  }
  std::vector<float> logits(manifest().classes);
  run(input.data(), 1, logits.data());
  const double ratio_db = sqnr_db(logits, golden.logits);
  if (ratio_db >= golden.sqnr_db) return;  // false for NaN
  throw invalid_artifact(artifact_.path("manifest.json") + ": " + description_ +
                         " gives logits for the golden image that are " + std::to_string(ratio_db) +
                         " dB from those of the export, expected at least " + std::to_string(golden.sqnr_db) +
                         " dB: it is another model, or computes otherwise here; export or build again");
}

std::size_t PendingRun::floats() const {
  std::size_t count = 0;
  for (const Batch& batch : batches_) count += batch.count;
  return count * classes_;
}

void PendingRun::collect(float* logits) {
  for (const Batch& batch : batches_) {
    if (batch.rows == batch.count) {
      batch.run->result(logits);
    } else {
      std::vector<float> padded(batch.rows * classes_);
      batch.run->result(padded.data());
      std::copy_n(padded.data(), batch.count * classes_, logits);
    }
    logits += batch.count * classes_;
  }
}

void PendingRun::result(float* logits) {
  collect(logits);
  require_finite(logits, floats() / classes_, classes_);
}

void Model::run(const void* input, std::size_t count, float* logits) {
  const std::size_t bytes = input_bytes(manifest().preprocess), classes = manifest().classes;
  const std::size_t most = backend_->batch().max;
  const auto* images = static_cast<const std::uint8_t*>(input);
  std::deque<PendingRun> under_way;
  float* next = logits;
  const auto collect_oldest = [&] {
    under_way.front().collect(next);
    next += under_way.front().floats();
    under_way.pop_front();
  };
  for (std::size_t done = 0; done < count; done += most) {
    under_way.push_back(begin(images + done * bytes, std::min(most, count - done)));
    if (under_way.size() >= backend_->at_once()) collect_oldest();
  }
  while (!under_way.empty()) collect_oldest();
  require_finite(logits, count, classes);
}

PendingRun Model::begin(const void* input, std::size_t count) {
  const std::size_t bytes = input_bytes(manifest().preprocess);
  const std::size_t most = backend_->batch().max;
  const auto* images = static_cast<const std::uint8_t*>(input);
  std::vector<PendingRun::Batch> batches;
  for (std::size_t done = 0; done < count; done += most) {
    batches.push_back(begin_batch(images + done * bytes, std::min(most, count - done)));
  }
  return {std::move(batches), manifest().classes};
}

PendingRun::Batch Model::begin_batch(const std::uint8_t* input, std::size_t count) {
  const std::size_t least = backend_->batch().min;
  if (count >= least) return {backend_->begin(input, count), count, count};
  const std::size_t bytes = input_bytes(manifest().preprocess);
  std::vector<std::uint8_t> padded(least * bytes);
  std::memcpy(padded.data(), input, count * bytes);
  for (std::size_t i = count; i < least; ++i) std::memcpy(padded.data() + i * bytes, input, bytes);
  return {backend_->begin(padded.data(), least), count, least};
}

std::vector<std::string> Model::classify(const deepvit_bytes* images, std::size_t count, float* logits,
                                         deepvit_status* statuses) {
  Failures failures(statuses, count);
  std::fill_n(logits, count * manifest().classes, 0.0f);
  const std::size_t most = backend_->batch().max;
  std::deque<Decoded> under_way;  // while they are computed, others are decoded
  const auto finish_oldest = [&] {
    finish(under_way.front(), logits, failures);
    under_way.pop_front();
  };
  for (std::size_t done = 0; done < count; done += most) {
    std::optional<Decoded> decoded = begin_decoded(images, done, std::min(done + most, count), failures);
    if (decoded) under_way.push_back(std::move(*decoded));
    if (under_way.size() >= backend_->at_once()) finish_oldest();
  }
  while (!under_way.empty()) finish_oldest();
  return failures.messages();
}

std::optional<Model::Decoded> Model::begin_decoded(const deepvit_bytes* images, std::size_t first, std::size_t end,
                                                   Failures& failures) {
  const Preprocessing& preprocessing = manifest().preprocess;
  const std::size_t bytes = input_bytes(preprocessing);
  std::vector<std::size_t> decoded;
  std::vector<std::uint8_t> crop(crop_bytes(preprocessing));
  std::vector<std::uint8_t> input((end - first) * bytes);
  for (std::size_t i = first; i < end; ++i) {
    try {
      const Encoded encoded{static_cast<const std::uint8_t*>(images[i].data), images[i].size};
      crop_encoded(encoded, preprocessing, max_megapixels_, crop.data());
      input_from_crops(crop.data(), 1, preprocessing, input.data() + decoded.size() * bytes);
      decoded.push_back(i);
    } catch (const Failure& failure) {
      failures.add(i, failure);
    }
  }
  if (decoded.empty()) return std::nullopt;
  PendingRun run = begin(input.data(), decoded.size());
  return Decoded{std::move(decoded), std::move(run)};
}

void Model::finish(Decoded& decoded, float* logits, Failures& failures) const {
  const std::size_t classes = manifest().classes;
  std::vector<float> answers(decoded.images.size() * classes);
  decoded.run.collect(answers.data());
  for (std::size_t row = 0; row < decoded.images.size(); ++row) {
    const float* answer = answers.data() + row * classes;
    if (is_finite(answer, classes)) {
      std::copy_n(answer, classes, logits + decoded.images[row] * classes);
    } else {
      failures.add(decoded.images[row], not_finite("the logits"));
    }
  }
}

}  // namespace deepvit
