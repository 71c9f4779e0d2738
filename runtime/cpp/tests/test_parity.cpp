// The same bytes and logits as the Python runtime, for every kind of image and every way to resize.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "artifact/sha256.h"
#include "support.h"

namespace {

#ifdef __SANITIZE_THREAD__
constexpr std::size_t kStep = 10;  // one thread only, and slow: a sample will do
#else
constexpr std::size_t kStep = 1;
#endif
constexpr float kLogitTolerance = 1e-5f;  // the same graph in the same ONNX Runtime; it is 0 so far

float distance(const std::vector<float>& got, const nlohmann::json& wanted) {
  if (got.size() != wanted.size()) return INFINITY;
  float largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::fabs(got[i] - wanted[i].get<float>()));
  return largest;
}

}  // namespace

TEST_SUITE_BEGIN("parity");

TEST_CASE("crops are Python's to the byte, logits within the tolerance") {
  const nlohmann::json all = support::expected();
  for (const auto& [name, rows] : all.items()) {
    const deepvit::Model model(support::artifact(name), support::options());
    REQUIRE(rows.size() >= 60);
    for (std::size_t i = 0; i < rows.size(); i += kStep) {
      const auto& row = rows[i];
      INFO(name << " " << row["image"]);
      const std::string encoded = support::image(row["image"]);
      const auto crop = model.crop(encoded.data(), encoded.size());
      CHECK(deepvit::sha256_of(crop.data(), crop.size()) == row["crop_sha256"].get<std::string>());
      CHECK(distance(model.run(model.input_from_crops(crop).data(), 1), row["logits"]) <= kLogitTolerance);
    }
  }
}

TEST_CASE("BF16 is refused in ONNX Runtime on a CPU, with what to do") {
  deepvit_options options = support::options();
  options.backend = DEEPVIT_BACKEND_ONNXRUNTIME;
  const auto opened = support::open_status(support::artifact("bf16"), options);
  CHECK(opened.status == DEEPVIT_MISSING);
  CHECK(opened.message.find("computes in BF16, which ONNX Runtime's CPU provider does not: export with --fp16") !=
        std::string::npos);
}

TEST_CASE("a batch of any size gives every image its own logits") {
  const deepvit::Model model(support::artifact("small"), support::options());
  const auto rows = support::expected()["small"];
  for (std::size_t count : {1, 2, 7, 8, 9, 20}) {  // the artifact takes 1 to 8
    std::vector<std::string> encoded;
    for (std::size_t i = 0; i < count; ++i) encoded.push_back(support::image(rows[i]["image"]));
    std::vector<deepvit_bytes> images;
    for (const auto& one : encoded) images.push_back({one.data(), one.size()});
    const auto answers = model.classify(images);
    for (std::size_t i = 0; i < count; ++i) {
      REQUIRE(answers[i].status == DEEPVIT_OK);
      CHECK(distance(answers[i].logits, rows[i]["logits"]) <= kLogitTolerance);
    }
  }
}

TEST_CASE("an image that cannot be decoded fails alone") {
  const deepvit::Model model(support::artifact("small"), support::options());
  const auto rows = support::expected()["small"];
  const std::string first = support::image(rows[0]["image"]);
  const std::string last = support::image(rows[1]["image"]);
  const std::string broken = first.substr(0, first.size() / 2);
  const auto answers = model.classify(
      {{first.data(), first.size()}, {broken.data(), broken.size()}, {nullptr, 0}, {last.data(), last.size()}});
  CHECK(answers[0].status == DEEPVIT_OK);
  CHECK(answers[1].status == DEEPVIT_INVALID_IMAGE);
  CHECK(answers[2].status == DEEPVIT_INVALID_IMAGE);
  CHECK(answers[3].status == DEEPVIT_OK);
  CHECK(std::string(deepvit_last_error()).find("image 1: ") != std::string::npos);
  CHECK(std::string(deepvit_last_error()).find("image 2: ") != std::string::npos);
  CHECK(distance(answers[0].logits, rows[0]["logits"]) <= kLogitTolerance);
  CHECK(distance(answers[3].logits, rows[1]["logits"]) <= kLogitTolerance);
}

TEST_CASE("logits that are not finite are an error of that image alone, not a class") {
  const deepvit::Model model(support::artifact("dark"), support::options());
  const auto row = support::expected()["small"][0];
  const std::string fine = support::image(row["image"]);
  const std::string dark = support::contents(support::data() / "dark.png");
  const auto answers = model.classify({{fine.data(), fine.size()}, {dark.data(), dark.size()}});
  CHECK(distance(answers[0].logits, row["logits"]) <= kLogitTolerance);
  CHECK(answers[1].status == DEEPVIT_NOT_FINITE);
  CHECK(answers[1].logits.empty());
  const auto input = model.input_from_crops(model.crop(dark.data(), dark.size()));
  CHECK_THROWS_WITH_AS(model.run(input.data(), 1), doctest::Contains("not finite"), deepvit::Error);
}

TEST_SUITE_END();
