// manifest.json (schema 1), as far as running the model needs it. Written by the Python package; see
// runtime/artifact/manifest/.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace deepvit {

enum class Interpolation { nearest, bilinear, bicubic, lanczos };

struct Preprocessing {
  int resize = 0;  // the shorter side, in pixels
  int crop = 0;    // side of the centred square, in pixels
  Interpolation interpolation = Interpolation::bicubic;
  std::array<float, 3> mean{};  // red, green, blue; of pixels in [0, 1]
  std::array<float, 3> std{};
  bool is_nhwc = false;  // uint8 crops, normalised inside the graph; else float32 NCHW
  int channels = 3;      // of NCHW: red, green and blue, repeated or cut
};

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;  // -1: dynamic
  bool is_uint8 = false;            // else float32
};

struct BatchRange {
  std::size_t min = 1;
  std::size_t opt = 1;
  std::size_t max = 1;

  // How many rows `count` images, min to max, are run as: powers of two, opt and max, since each size has a context and
  // a CUDA graph, and in TensorRT-RTX kernels to be compiled first. The rule is BatchRange.steps of the Python runtime
  // too, and tests/data/batch_rows_cases.json holds both to it.
  std::size_t rows_for(std::size_t count) const;
};

enum class HardwareCompatibility { none, same_compute_capability, ampere_plus };

// The plugin's library that an engine was built with.
struct EnginePlugin {
  std::string sha256;
  std::string kernels_sha256;  // of the kernels inside, whichever library they are in
  std::string layer;           // "deepvit::ReAttention/1"
};

struct Engine {
  std::string file;
  std::string backend;             // tensorrt or tensorrt-rtx
  std::string version;             // of the library that built it
  std::string compute_capability;  // "8.9,12.0"
  BatchRange profile;
  HardwareCompatibility hardware_compatible = HardwareCompatibility::none;
  bool version_compatible = false;
  bool weight_stripped = false;
  std::optional<EnginePlugin> plugin;  // none: it needs none
};

struct FileRecord {
  std::uint64_t bytes = 0;
  std::string sha256;
};

// What the graph answered at export for the golden image; see runtime/artifact/manifest/golden.py.
struct Golden {
  std::string input_sha256;
  std::vector<double> logits;  // of the first classes
  double sqnr_db = 0;
};

struct Manifest {
  std::string variant;
  std::string precision;
  std::size_t classes = 0;
  bool has_random_weights = false;
  bool is_weight_only = false;  // 8-bit weights beside activations that are not quantised
  Tensor input;
  Tensor output;
  BatchRange batch;
  Preprocessing preprocess;
  std::vector<std::string> class_names;  // in the order of the logits; none: the manifest has none
  std::vector<Engine> engines;
  std::map<std::string, FileRecord> files;
  std::optional<Golden> golden;                    // none: exported before there was one
  std::map<std::string, nlohmann::json> identity;  // "preprocess.crop": what the graph says of itself, too
};

// Parses manifest.json; `name` is what errors call it. Throws DEEPVIT_INVALID_ARTIFACT.
Manifest parse_manifest(const std::string& text, const std::string& name);

// Where the identity that a graph has in its metadata differs from the manifest's, in words; empty where nowhere.
std::string difference(const Manifest& manifest, const std::string& metadata);

}  // namespace deepvit
