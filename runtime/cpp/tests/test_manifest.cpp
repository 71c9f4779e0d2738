// Every fault of a manifest is told by its path.
#include <doctest/doctest.h>

#include "artifact/manifest.h"
#include "error.h"
#include "support.h"

namespace {

nlohmann::json valid() {
  return nlohmann::json::parse(support::contents(support::artifact("small") + "/manifest.json"));
}

std::string fault_of(const nlohmann::json& manifest) {
  try {
    deepvit::parse_manifest(manifest.dump(), "manifest.json");
    return "";
  } catch (const deepvit::Failure& failure) {
    CHECK(failure.status == DEEPVIT_INVALID_ARTIFACT);
    return failure.what();
  }
}

}  // namespace

TEST_SUITE_BEGIN("manifest");

TEST_CASE("what the export wrote is read") {
  const auto manifest = deepvit::parse_manifest(valid().dump(), "manifest.json");
  CHECK(manifest.variant == "small");
  CHECK(manifest.preprocess.resize == 248);
  CHECK(manifest.preprocess.interpolation == deepvit::Interpolation::bicubic);
  CHECK(manifest.batch.max == 8);
  CHECK(manifest.input.shape == std::vector<std::int64_t>{-1, 3, 224, 224});
}

TEST_CASE("faults are named") {
  const std::pair<const char*, nlohmann::json> changes[] = {
      {"/schema", 2},
      {"/classes", 0},
      {"/classes", -1},
      {"/classes", 1e300},
      {"/classes", 18446744073709551615u},
      {"/batch/max", 1},  // below opt
      {"/preprocess/crop", 1 << 20},
      {"/preprocess/interpolation", "box"},
      {"/preprocess/std", {0.5, 0.0, 0.5}},
      {"/preprocess/mean", {0.5, 0.5}},
      {"/preprocess/layout", "NHWC"},  // the graph takes NCHW
      {"/preprocess/color", "BGR"},
      {"/input/dtype", "uint8"},
      {"/input/shape", {"batch", 3, 224, 225}},
      {"/output/shape", {"batch", 11}},
      {"/weights/source", "unknown"},
      {"/files", {{"../x", {{"bytes", 1}, {"sha256", std::string(64, 'a')}}}}},
      {"/files/model.onnx/sha256", "ABC"},
      {"/files/model.onnx/bytes", -5},
      {"/files", nlohmann::json::object()},
      {"/engines", {{{"file", "../engine.plan"}}}},
      {"/variant", 3},
  };
  for (const auto& [pointer, value] : changes) {
    auto manifest = valid();
    manifest[nlohmann::json::json_pointer(pointer)] = value;
    INFO(pointer);
    CHECK(fault_of(manifest).find("not a valid manifest") != std::string::npos);
  }
  CHECK(fault_of(valid()).empty());
}

TEST_CASE("missing fields are named, text that is not JSON is refused") {
  for (const char* key :
       {"schema", "variant", "classes", "weights", "precision", "input", "output", "batch", "preprocess", "files"}) {
    auto manifest = valid();
    manifest.erase(key);
    CHECK(fault_of(manifest).find(key) != std::string::npos);
  }
  CHECK_THROWS_AS(deepvit::parse_manifest("{", "m"), deepvit::Failure);
  CHECK_THROWS_AS(deepvit::parse_manifest(std::string(500'000, '['), "m"), deepvit::Failure);
  CHECK_THROWS_AS(deepvit::parse_manifest("null", "m"), deepvit::Failure);
}

TEST_SUITE_END();
