// Every fault of a manifest is told by its path.
#include <doctest/doctest.h>

#include <algorithm>

#include "artifact/manifest.h"
#include "error.h"
#include "support.h"

namespace {

nlohmann::json valid() {
  return nlohmann::json::parse(support::contents(support::artifact("small") + "/manifest.json"));
}

std::string fault_of(const std::string& text) {
  try {
    deepvit::parse_manifest(text, "manifest.json");
    return "";
  } catch (const deepvit::Failure& failure) {
    CHECK(failure.status == DEEPVIT_INVALID_ARTIFACT);
    CHECK(std::string(failure.what()).find("not a valid manifest") != std::string::npos);
    return failure.what();
  }
}

// The text that a case of the table makes of the manifest.
std::string text_of(nlohmann::json manifest, const nlohmann::json& row) {
  using Pointer = nlohmann::json::json_pointer;
  if (row.contains("raw")) {
    std::string all;
    for (int i = 0; i < row.value("times", 1); ++i) all += row["raw"].get<std::string>();
    return all;
  }
  if (row.contains("set")) {
    for (const auto& [pointer, value] : row["set"].items()) manifest[Pointer(pointer)] = value;
  }
  if (row.contains("remove")) {
    for (const auto& each : row["remove"]) {
      const Pointer pointer(each.get<std::string>());
      manifest[pointer.parent_pointer()].erase(pointer.back());
    }
  }
  std::string text = manifest.dump();
  if (!row.contains("text")) return text;
  const auto before = row["text"][0].get<std::string>();
  const std::size_t at = text.find(before);
  REQUIRE(at != std::string::npos);
  return text.replace(at, before.size(), row["text"][1].get<std::string>());
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

TEST_CASE("every case of the table that Python is held to as well") {
  const auto table = nlohmann::json::parse(support::contents(MANIFEST_CASES));
  std::size_t refused = 0;
  for (const auto& row : table["cases"]) {
    INFO(row["name"].get<std::string>());
    const std::string fault = fault_of(text_of(table["manifest"], row));
    INFO(fault);
    CHECK(fault.empty() == row["accepted"].get<bool>());
    CHECK(fault.find('\n') == std::string::npos);
    refused += fault.empty() ? 0 : 1;
  }
  CHECK(refused >= 100);
  CHECK(table["cases"].size() - refused >= 15);
}

TEST_CASE("what the graph says of itself is compared by field") {
  const auto manifest = deepvit::parse_manifest(valid().dump(), "manifest.json");
  nlohmann::json said;
  for (const char* key : {"schema", "variant", "classes", "weights", "precision", "input", "output", "preprocess"}) {
    said[key] = valid()[key];
  }
  CHECK(deepvit::difference(manifest, said.dump()).empty());
  said["class_names"] = {"tench"};
  CHECK(deepvit::difference(manifest, said.dump()) == "class_names is null by the manifest, [\"tench\"] by the graph");
  said["class_names"] = nullptr;
  CHECK(deepvit::difference(manifest, said.dump()).empty());
  said["preprocess"]["crop"] = 225;
  CHECK(deepvit::difference(manifest, said.dump()) == "preprocess.crop is 224 by the manifest, 225 by the graph");
  said = {{"variant", "small"}};
  CHECK(deepvit::difference(manifest, said.dump()).find("null by the graph") != std::string::npos);
  for (const char* none : {"", "[]", "3", "{"}) CHECK_FALSE(deepvit::difference(manifest, none).empty());
}

TEST_CASE("what a hostile graph says of itself is neither walked to its end nor shown at full length") {
  const auto manifest = deepvit::parse_manifest(valid().dump(), "manifest.json");
  const auto nested = [](std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += "{\"a\":";
    return text + "1" + std::string(depth, '}');
  };
  CHECK(deepvit::difference(manifest, nested(200'000)).find("bytes, expected at most 1048576") != std::string::npos);
  for (const std::string& text : {nested(9), nested(10'000), "{\"a\":" + std::string(60'000, '[')}) {
    CHECK(deepvit::difference(manifest, text) == "the graph says it nested more than 8 deep");
  }
  CHECK(deepvit::difference(manifest, nested(8)).find("a.a.a.a.a.a.a.a is null by") == 0);
  CHECK(deepvit::difference(manifest, "{\"a\":\"" + std::string(60'000, 'x') + "\"}").size() < 300);
}

TEST_CASE("faults are told by their paths") {
  const std::pair<const char*, nlohmann::json> changes[] = {
      {"/preprocess/crop", 1 << 20}, {"/weights/source", "unknown"}, {"/files/model.onnx/bytes", -5}, {"/surprise", 1}};
  for (const auto& [pointer, value] : changes) {
    auto manifest = valid();
    manifest[nlohmann::json::json_pointer(pointer)] = value;
    std::string path = std::string(pointer).substr(1);
    for (char& letter : path) letter = letter == '/' ? '.' : letter;
    CHECK(fault_of(manifest.dump()).find("is not a valid manifest (schema 1): " + path) != std::string::npos);
  }
}

TEST_CASE("missing fields are named, text that is not JSON is refused") {
  for (const char* key :
       {"schema", "variant", "classes", "weights", "precision", "input", "output", "batch", "preprocess", "files"}) {
    auto manifest = valid();
    manifest.erase(key);
    CHECK(fault_of(manifest.dump()).find(key) != std::string::npos);
  }
  CHECK_THROWS_AS(deepvit::parse_manifest("{", "m"), deepvit::Failure);
  CHECK_THROWS_AS(deepvit::parse_manifest(std::string(500'000, '['), "m"), deepvit::Failure);
  CHECK_THROWS_AS(deepvit::parse_manifest("null", "m"), deepvit::Failure);
}

TEST_CASE("a batch runs as the least size of the table that holds it") {
  const auto table = nlohmann::json::parse(support::contents(BATCH_ROWS_CASES));
  CHECK(table["cases"].size() > 8);
  for (const auto& row : table["cases"]) {
    INFO(row["name"].get<std::string>());
    const deepvit::BatchRange batch{row["batch"][0], row["batch"][1], row["batch"][2]};
    const std::vector<std::size_t> steps = row["steps"];
    for (std::size_t count = batch.min; count <= batch.max; ++count) {
      CHECK(batch.rows_for(count) == *std::lower_bound(steps.begin(), steps.end(), count));
    }
  }
}

TEST_SUITE_END();
