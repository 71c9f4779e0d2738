#include "artifact/manifest.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "artifact/json_node.h"
#include "error.h"

namespace deepvit {
namespace {

constexpr std::int64_t kLargestSide = 16384;      // of runtime/preprocess/crop.py
constexpr std::int64_t kMostClasses = 1'000'000;  // bounds what a hostile manifest makes callers allocate
constexpr std::int64_t kLargestBatch = 65'536;

BatchRange batch_from(const JsonNode& node) {
  const auto size = [&](const char* key) { return static_cast<std::size_t>(node[key].integer(1, kLargestBatch)); };
  const BatchRange range{size("min"), size("opt"), size("max")};
  if (range.min > range.opt || range.opt > range.max) throw std::invalid_argument("batch is not min ≤ opt ≤ max");
  return range;
}

Tensor tensor_from(const JsonNode& node) {
  Tensor tensor;
  tensor.name = node["name"].text();
  node["shape"].each([&](const JsonNode& dimension) {
    const bool is_dynamic = dimension.is_text();  // it has a name
    tensor.shape.push_back(is_dynamic ? -1 : dimension.integer(1, std::numeric_limits<std::int32_t>::max()));
  });
  tensor.is_uint8 = node["dtype"].choice({"float32", "uint8"}) == 1;
  return tensor;
}

Preprocessing preprocessing_from(const JsonNode& node) {
  Preprocessing found;
  found.resize = static_cast<int>(node["resize"].integer(1, kLargestSide));
  found.crop = static_cast<int>(node["crop"].integer(1, kLargestSide));
  found.interpolation =
      static_cast<Interpolation>(node["interpolation"].choice({"nearest", "bilinear", "bicubic", "lanczos"}));
  found.mean = node["mean"].three_numbers();
  for (float value : found.mean) node["mean"].require(std::isfinite(value), "must be finite");
  found.std = node["std"].three_numbers();
  for (float value : found.std) node["std"].require(std::isfinite(value) && value > 0, "must be positive");
  found.is_nhwc = node["layout"].choice({"NCHW", "NHWC"}) == 1;
  if (node.has("color")) node["color"].choice({"RGB"});
  return found;
}

bool is_file_name(const std::string& name) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.empty() || name.size() > 100 || !is_word(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return is_word(c) || c == '.' || c == '-'; });
}

Engine engine_from(const JsonNode& node) {
  Engine engine;
  engine.file = node["file"].text();
  if (!is_file_name(engine.file)) throw std::invalid_argument("an engine's file is no plain file name");
  engine.backend = node["backend"].choice({"tensorrt", "tensorrt-rtx"}) == 0 ? "tensorrt" : "tensorrt-rtx";
  engine.version = node["version"].text();
  engine.compute_capability = node["compute_capability"].text();
  engine.profile = batch_from(node["profile"]);
  if (node.has("hardware_compatible")) {
    engine.hardware_compatible = static_cast<HardwareCompatibility>(
        node["hardware_compatible"].choice({"none", "same-compute-capability", "ampere-plus"}));
  }
  engine.version_compatible = node.has("version_compatible") && node["version_compatible"].truth();
  engine.weight_stripped = node.has("weight_stripped") && node["weight_stripped"].truth();
  return engine;
}

FileRecord file_from(const std::string& name, const JsonNode& node) {
  const std::string sha256 = node["sha256"].text();
  const bool is_hex = sha256.size() == 64 && sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_file_name(name) || !is_hex) throw std::invalid_argument("files has a name or a SHA-256 that is none");
  return {static_cast<std::uint64_t>(node["bytes"].integer(0, std::numeric_limits<std::int64_t>::max())), sha256};
}

// What the parts say of one another.
void require_consistent(const Manifest& m) {
  const std::int64_t crop = m.preprocess.crop;
  const std::vector<std::int64_t> nchw{-1, 3, crop, crop};
  const std::vector<std::int64_t> nhwc{-1, crop, crop, 3};
  auto shape = m.input.shape;
  if (!shape.empty()) shape[0] = -1;
  if (shape != (m.preprocess.is_nhwc ? nhwc : nchw) || m.input.is_uint8 != m.preprocess.is_nhwc) {
    throw std::invalid_argument("input is not what preprocess makes: RGB of " + std::to_string(crop) + " × " +
                                std::to_string(crop) + " pixels");
  }
  if (m.output.shape.size() != 2 || m.output.shape[1] != static_cast<std::int64_t>(m.classes) || m.output.is_uint8) {
    throw std::invalid_argument("output is not (batch, classes) float32");
  }
  if (m.files.count("model.onnx") == 0) throw std::invalid_argument("files has no model.onnx");
}

Manifest manifest_from(const JsonNode& root) {
  root["schema"].integer(1, 1);
  Manifest manifest;
  manifest.variant = root["variant"].text();
  manifest.precision = root["precision"].text();
  manifest.classes = static_cast<std::size_t>(root["classes"].integer(1, kMostClasses));
  manifest.has_random_weights = root["weights"]["source"].choice({"checkpoint", "random"}) == 1;
  manifest.input = tensor_from(root["input"]);
  manifest.output = tensor_from(root["output"]);
  manifest.batch = batch_from(root["batch"]);
  manifest.preprocess = preprocessing_from(root["preprocess"]);
  if (root.has("engines")) {
    root["engines"].each([&](const JsonNode& node) { manifest.engines.push_back(engine_from(node)); });
  }
  root["files"].each_entry(
      [&](const std::string& name, const JsonNode& node) { manifest.files[name] = file_from(name, node); });
  require_consistent(manifest);
  return manifest;
}

}  // namespace

Manifest parse_manifest(const std::string& text, const std::string& name) {
  const auto parsed = nlohmann::json::parse(text, nullptr, false);  // no exceptions: a fault gives a discarded value
  if (parsed.is_discarded()) throw invalid_artifact(name + " is not JSON; export again");
  try {
    return manifest_from(JsonNode(parsed));
  } catch (const std::invalid_argument& error) {
    throw invalid_artifact(name + " is not a valid manifest (schema 1): " + error.what());
  }
}

}  // namespace deepvit
