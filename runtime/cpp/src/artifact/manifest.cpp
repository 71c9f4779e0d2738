#include "artifact/manifest.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "error.h"

namespace deepvit {
namespace {

using nlohmann::json;

constexpr std::int64_t kLargestSide = 16384;      // of runtime/preprocess.py
constexpr std::int64_t kMostClasses = 1'000'000;  // bounds what a hostile manifest makes callers allocate
constexpr std::int64_t kLargestBatch = 65'536;

// A JSON object that knows where it stands, so that every fault is told with its path.
class Node {
 public:
  Node(const json& value, std::string path) : value_(value), path_(std::move(path)) {}

  Node operator[](const std::string& key) const {
    if (!value_.is_object() || !value_.contains(key)) throw std::invalid_argument(path_of(key) + " is missing");
    return {value_[key], path_of(key)};
  }

  bool has(const std::string& key) const {
    return value_.is_object() && value_.contains(key) && !value_[key].is_null();
  }

  std::string text() const {
    if (!value_.is_string()) throw std::invalid_argument(path_ + " is no string");
    return value_.get<std::string>();
  }

  std::int64_t integer(std::int64_t least, std::int64_t most) const {
    const bool is_representable =
        value_.is_number_integer() &&
        (!value_.is_number_unsigned() || value_.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
    if (!is_representable || value_.get<std::int64_t>() < least || value_.get<std::int64_t>() > most) {
      throw std::invalid_argument(path_ + " is no integer from " + std::to_string(least) + " to " +
                                  std::to_string(most));
    }
    return value_.get<std::int64_t>();
  }

  bool truth() const {
    if (!value_.is_boolean()) throw std::invalid_argument(path_ + " is neither true nor false");
    return value_.get<bool>();
  }

  // One of `choices`, as its position.
  std::size_t choice(const std::vector<std::string>& choices) const {
    const std::string got = text();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (choices[i] == got) return i;
    }
    throw std::invalid_argument(path_ + " is " + json(got).dump(-1, ' ', true, json::error_handler_t::replace) +
                                ", expected " + joined(choices));
  }

  std::array<float, 3> channels(bool is_positive) const {
    std::array<float, 3> found{};
    if (!value_.is_array() || value_.size() != 3) throw std::invalid_argument(path_ + " is not three numbers");
    for (std::size_t i = 0; i < 3; ++i) {
      if (!value_[i].is_number()) throw std::invalid_argument(path_ + " is not three numbers");
      found[i] = static_cast<float>(value_[i].get<double>());
      if (!std::isfinite(found[i]) || (is_positive && !(found[i] > 0))) {
        throw std::invalid_argument(path_ + (is_positive ? " must be positive" : " must be finite"));
      }
    }
    return found;
  }

  template <typename Read>
  void each(const Read& read) const {
    if (!value_.is_array()) throw std::invalid_argument(path_ + " is no list");
    for (std::size_t i = 0; i < value_.size(); ++i) read(Node(value_[i], path_ + "." + std::to_string(i)));
  }

  template <typename Read>
  void each_entry(const Read& read) const {
    if (!value_.is_object()) throw std::invalid_argument(path_ + " is no object");
    for (const auto& [key, value] : value_.items()) read(key, Node(value, path_of(key)));
  }

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  static std::string joined(const std::vector<std::string>& choices) {
    std::string all;
    for (const auto& choice : choices) all += (all.empty() ? "" : ", ") + choice;
    return all;
  }

  const json& value_;
  std::string path_;
};

BatchRange batch_from(const Node& node) {
  const auto size = [&](const char* key) { return static_cast<std::size_t>(node[key].integer(1, kLargestBatch)); };
  const BatchRange range{size("min"), size("opt"), size("max")};
  if (range.min > range.opt || range.opt > range.max) throw std::invalid_argument("batch is not min ≤ opt ≤ max");
  return range;
}

Tensor tensor_from(const Node& node) {
  Tensor tensor;
  tensor.name = node["name"].text();
  node["shape"].each([&](const Node& dimension) {
    std::int64_t size = -1;  // a name
    try {
      dimension.text();
    } catch (const std::invalid_argument&) {
      size = dimension.integer(1, std::numeric_limits<std::int32_t>::max());
    }
    tensor.shape.push_back(size);
  });
  tensor.is_uint8 = node["dtype"].choice({"float32", "uint8"}) == 1;
  return tensor;
}

Preprocessing preprocessing_from(const Node& node) {
  Preprocessing found;
  found.resize = static_cast<int>(node["resize"].integer(1, kLargestSide));
  found.crop = static_cast<int>(node["crop"].integer(1, kLargestSide));
  found.interpolation =
      static_cast<Interpolation>(node["interpolation"].choice({"nearest", "bilinear", "bicubic", "lanczos"}));
  found.mean = node["mean"].channels(false);
  found.std = node["std"].channels(true);
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

Engine engine_from(const Node& node) {
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

FileRecord file_from(const std::string& name, const Node& node) {
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

Manifest manifest_from(const Node& root) {
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
    root["engines"].each([&](const Node& node) { manifest.engines.push_back(engine_from(node)); });
  }
  root["files"].each_entry(
      [&](const std::string& name, const Node& node) { manifest.files[name] = file_from(name, node); });
  require_consistent(manifest);
  return manifest;
}

}  // namespace

Manifest parse_manifest(const std::string& text, const std::string& name) {
  const json parsed = json::parse(text, nullptr, false);  // no exceptions: a fault gives a discarded value
  if (parsed.is_discarded()) throw invalid_artifact(name + " is not JSON; export again");
  try {
    return manifest_from(Node(parsed, ""));
  } catch (const std::invalid_argument& error) {
    throw invalid_artifact(name + " is not a valid manifest (schema 1): " + error.what());
  }
}

}  // namespace deepvit
