#include "artifact/manifest.h"

#include <algorithm>

#include "artifact/json_node.h"
#include "artifact/schema.h"
#include "error.h"

namespace deepvit {
namespace {

constexpr std::int64_t kMostChannels = 1024;
// Of what a graph says of itself, three deep, which is a kilobyte and its class names: more is hostile, and both
// walking and dropping it recurse.
constexpr std::size_t kMostMetadata = 1 << 20;
constexpr int kMostNested = 8;
constexpr std::size_t kLongestShown = 100;  // of a value, in bytes

BatchRange batch_from(const JsonNode& node) {
  const auto size = [&](const char* key) { return static_cast<std::size_t>(node[key].integer(1, kLargestInt)); };
  return {size("min"), size("opt"), size("max")};
}

Tensor tensor_from(const JsonNode& node) {
  Tensor tensor;
  tensor.name = node["name"].text();
  node["shape"].each([&](const JsonNode& dimension) {
    const bool is_dynamic = dimension.is_text();  // it has a name
    tensor.shape.push_back(is_dynamic ? -1 : dimension.integer(1, kLargestInt));
  });
  tensor.is_uint8 = node["dtype"].choice({"float32", "uint8"}) == 1;
  return tensor;
}

Preprocessing preprocessing_from(const JsonNode& node) {
  Preprocessing found;
  found.resize = static_cast<int>(node["resize"].integer(1, kLargestInt));
  found.crop = static_cast<int>(node["crop"].integer(1, kLargestInt));
  found.interpolation =
      static_cast<Interpolation>(node["interpolation"].choice({"nearest", "bilinear", "bicubic", "lanczos"}));
  found.mean = node["mean"].three_numbers();
  found.std = node["std"].three_numbers();
  found.is_nhwc = node["layout"].choice({"NCHW", "NHWC"}) == 1;
  return found;
}

Engine engine_from(const JsonNode& node) {
  Engine engine;
  engine.file = node["file"].text();
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
  if (node.has("plugin")) {
    const JsonNode plugin = node["plugin"];
    engine.plugin = {plugin["sha256"].text(), plugin["kernels_sha256"].text(), plugin["layer"].text()};
  }
  return engine;
}

Golden golden_from(const JsonNode& node) {
  Golden golden;
  golden.input_sha256 = node["input_sha256"].text();
  node["logits"].each([&](const JsonNode& logit) { golden.logits.push_back(logit.number()); });
  golden.sqnr_db = node["sqnr_db"].number();
  return golden;
}

// Everything within an object by its path, but nulls, which stand for what is not there.
void put_leaves(const nlohmann::json& value, const std::string& path, std::map<std::string, nlohmann::json>& leaves) {
  if (!value.is_object()) {
    if (!value.is_null()) leaves[path] = value;
    return;
  }
  for (const auto& [key, part] : value.items()) put_leaves(part, path.empty() ? key : path + "." + key, leaves);
}

// The fields of runtime/artifact/manifest/identity.py's Identity.
std::map<std::string, nlohmann::json> identity_from(const JsonNode& root) {
  std::map<std::string, nlohmann::json> leaves{{"preprocess.color", "RGB"}};
  for (const char* key : {"schema", "variant", "classes", "weights", "precision", "input", "output", "preprocess"}) {
    put_leaves(root[key].json(), key, leaves);
  }
  if (root.has("class_names")) put_leaves(root["class_names"].json(), "class_names", leaves);
  return leaves;
}

void require_input(const Manifest& m) {
  const std::int64_t crop = m.preprocess.crop;
  const std::int64_t channels = m.input.shape.size() == 4 && !m.preprocess.is_nhwc ? m.input.shape[1] : 3;
  auto shape = m.input.shape;
  if (!shape.empty()) shape[0] = -1;
  const std::vector<std::int64_t> nchw{-1, channels, crop, crop};
  const std::vector<std::int64_t> nhwc{-1, crop, crop, 3};
  if (shape != (m.preprocess.is_nhwc ? nhwc : nchw) || m.input.is_uint8 != m.preprocess.is_nhwc) {
    throw std::invalid_argument("input is not what preprocess makes: " + std::to_string(crop) + " × " +
                                std::to_string(crop) + " pixels");
  }
  if (channels < 1 || channels > kMostChannels) {
    throw std::invalid_argument("input has a number of channels that is not from 1 to " +
                                std::to_string(kMostChannels));
  }
  const std::int64_t fixed = m.input.shape[0];
  const auto is_fixed = [&](std::size_t size) { return static_cast<std::int64_t>(size) == fixed; };
  if (fixed > 0 && !(is_fixed(m.batch.min) && is_fixed(m.batch.max))) {
    throw std::invalid_argument("input is of " + std::to_string(fixed) + " images, batch is another");
  }
}

// What the parts say of one another.
void require_consistent(const Manifest& m, const nlohmann::json& root) {
  require_input(m);
  const auto& shape = root["output"]["shape"];
  if (m.output.is_uint8 || shape.size() != 2 || shape[0] != root["input"]["shape"][0] || shape[1] != m.classes) {
    throw std::invalid_argument("output is not (" + root["input"]["shape"][0].dump() + ", classes) float32");
  }
  if (root.contains("class_names") && !root["class_names"].is_null() && m.class_names.size() != m.classes) {
    throw std::invalid_argument("class_names has " + std::to_string(m.class_names.size()) + " names, classes is " +
                                std::to_string(m.classes));
  }
  if (m.files.count("model.onnx") == 0) throw std::invalid_argument("files has no model.onnx");
  if (m.golden && m.golden->logits.size() != std::min(m.classes, kMostGoldenLogits)) {
    throw std::invalid_argument("golden has " + std::to_string(m.golden->logits.size()) + " logits");
  }
}

Manifest manifest_from(const JsonNode& root) {
  require_schema(root);
  Manifest manifest;
  manifest.variant = root["variant"].text();
  manifest.precision = root["precision"].text();
  manifest.classes = static_cast<std::size_t>(root["classes"].integer(1, kLargestInt));
  manifest.has_random_weights = root["weights"]["source"].choice({"checkpoint", "random"}) == 1;
  manifest.is_weight_only =
      root.has("calibration") && root["calibration"].has("weight_only") && root["calibration"]["weight_only"].truth();
  manifest.input = tensor_from(root["input"]);
  manifest.output = tensor_from(root["output"]);
  manifest.batch = batch_from(root["batch"]);
  manifest.preprocess = preprocessing_from(root["preprocess"]);
  manifest.identity = identity_from(root);
  if (root.has("class_names")) {
    root["class_names"].each([&](const JsonNode& name) { manifest.class_names.push_back(name.text()); });
  }
  if (root.has("golden")) manifest.golden = golden_from(root["golden"]);
  if (root.has("engines")) {
    root["engines"].each([&](const JsonNode& node) { manifest.engines.push_back(engine_from(node)); });
  }
  root["files"].each_entry([&](const std::string& name, const JsonNode& node) {
    manifest.files[name] = {static_cast<std::uint64_t>(node["bytes"].integer(0, kLargestInt)), node["sha256"].text()};
  });
  require_consistent(manifest, root.json());
  if (!manifest.preprocess.is_nhwc) manifest.preprocess.channels = static_cast<int>(manifest.input.shape[1]);
  return manifest;
}

}  // namespace

std::size_t BatchRange::rows_for(std::size_t count) const {
  std::size_t rows = 1;
  while (rows < count) rows *= 2;
  if (count <= opt) rows = std::min(rows, opt);
  return std::min(rows, max);
}

Manifest parse_manifest(const std::string& text, const std::string& name) {
  try {
    const nlohmann::json parsed = parse_strictly(text);
    return manifest_from(JsonNode(parsed));
  } catch (const std::invalid_argument& error) {
    throw invalid_artifact(name + " is not a valid manifest (schema 1): " + error.what());
  }
}

std::string difference(const Manifest& manifest, const std::string& metadata) {
  if (metadata.size() > kMostMetadata) {
    return "the graph says it in " + std::to_string(metadata.size()) + " bytes, expected at most " +
           std::to_string(kMostMetadata);
  }
  bool is_too_deep = false;
  const auto is_near = [&](int depth, nlohmann::json::parse_event_t event, const nlohmann::json&) {
    using Event = nlohmann::json::parse_event_t;
    is_too_deep |= depth >= kMostNested && (event == Event::object_start || event == Event::array_start);
    return !is_too_deep;
  };
  const auto parsed = nlohmann::json::parse(metadata, is_near, false);
  if (is_too_deep) return "the graph says it nested more than " + std::to_string(kMostNested) + " deep";
  if (!parsed.is_object()) return "the graph says it in no JSON";
  std::map<std::string, nlohmann::json> said;
  put_leaves(parsed, "", said);
  const auto cut = [](const std::string& text) {
    return text.size() <= kLongestShown ? text : text.substr(0, kLongestShown) + "…";
  };
  const auto shown = [&](const std::map<std::string, nlohmann::json>& leaves, const std::string& name) {
    const auto found = leaves.find(name);
    if (found == leaves.end()) return std::string("null");
    const std::string text = found->second.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);  // ASCII
    return cut(text);
  };
  auto all = manifest.identity;
  all.insert(said.begin(), said.end());
  for (const auto& [name, value] : all) {
    const auto ours = manifest.identity.find(name);
    const auto graphs = said.find(name);
    if (ours == manifest.identity.end() || graphs == said.end() || ours->second != graphs->second) {
      return cut(name) + " is " + shown(manifest.identity, name) + " by the manifest, " + shown(said, name) +
             " by the graph";
    }
  }
  return "";
}

}  // namespace deepvit
