// Graphs in OpenVINO: the logits of ONNX Runtime, in the numbers that a graph declares, and what is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "artifact/sha256.h"
#include "support.h"

namespace {

#ifdef DEEPVIT_SANITIZED
constexpr std::size_t kStep = 10;  // slow: a sample will do
#else
constexpr std::size_t kStep = 1;
#endif
constexpr float kLogitTolerance = 1e-4f;  // the same graph in FP32, summed in another order
constexpr char kIsNotBf16[] = "this processor has no BF16, so that OpenVINO computes in FP32 whatever it is asked";

deepvit_options options(const char* library = nullptr) {
  static const std::string real = support::variable("DEEPVIT_TEST_OPENVINO");
  deepvit_options options = support::options();
  options.backend = DEEPVIT_BACKEND_OPENVINO;
  options.openvino_library = library == nullptr ? real.c_str() : library;
  return options;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool has_bf16() {
  static const bool has = ends_with(deepvit::Model(support::artifact("bf16"), options()).info().backend, " in BF16");
  return has;
}

std::vector<float> logits_of(const deepvit::Model& model, const nlohmann::json& row) {
  const std::string encoded = support::image(row["image"]);
  return model.run(model.input_from_crops(model.crop(encoded.data(), encoded.size())).data(), 1);
}

std::size_t best_of(const std::vector<float>& logits) {
  return static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

float distance(const std::vector<float>& got, const std::vector<float>& wanted) {
  REQUIRE(got.size() == wanted.size());
  float largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::fabs(got[i] - wanted[i]));
  return largest;
}

}  // namespace

TEST_SUITE_BEGIN("openvino");

TEST_CASE("FP32 gives the logits and the classes of ONNX Runtime in Python") {
  const deepvit::Model model(support::artifact("small"), options());
  CHECK(std::string(model.info().backend).rfind("OpenVINO 20", 0) == 0);
  CHECK(ends_with(model.info().backend, " on the CPU in FP32"));
  const auto rows = support::expected()["small"];
  REQUIRE(rows.size() == 300);
  for (std::size_t i = 0; i < rows.size(); i += kStep) {
    const auto& row = rows[i];
    const auto logits = logits_of(model, row);
    const auto wanted = row["logits"].get<std::vector<float>>();
    CHECK(distance(logits, wanted) <= kLogitTolerance);
    CHECK(best_of(logits) == best_of(wanted));
  }
}

TEST_CASE("every form opens, which compares golden logits") {
  for (const char* name : {"uint8", "fp16", "int8", "int8-cpu", "weight-only", "fp8", "fp8-attention"}) {
    INFO(name);
    CHECK(support::open_status(support::artifact(name), options()).message == "");
  }
}

TEST_CASE("BF16 is for OpenVINO by itself where the processor has it, else for nobody") {
  deepvit_options automatic = options();
  automatic.backend = DEEPVIT_BACKEND_AUTO;
  if (has_bf16()) {
    const deepvit::Model model(support::artifact("bf16"), automatic);
    CHECK(ends_with(model.info().backend, " in BF16"));
  } else {
    CHECK(support::open_status(support::artifact("bf16"), automatic).status == DEEPVIT_MISSING);
  }
  automatic.openvino_library = "/no/such/libopenvino_c.so";
  CHECK(support::open_status(support::artifact("bf16"), automatic).status == DEEPVIT_MISSING);
  const deepvit::Model other(support::artifact("small"), automatic);
  CHECK(std::string(other.info().backend).rfind("ONNX Runtime", 0) == 0);
}

TEST_CASE("its own choice of arithmetic is noticed") {
  if (!has_bf16()) {
    MESSAGE(kIsNotBf16);
    return;
  }
  const auto opened = support::open_status(support::artifact("small"), options(WITHOUT_HINT));
  CHECK(opened.status == DEEPVIT_MISSING);
  CHECK(opened.message.find("in bf16 here, where f32 was asked for") != std::string::npos);
}

TEST_CASE("a library that is not there, or another one, is said to be missing") {
  const auto absent = support::open_status(support::artifact("small"), options("/no/such/libopenvino_c.so"));
  CHECK(absent.status == DEEPVIT_MISSING);
  CHECK(absent.message.find("/no/such/libopenvino_c.so") != std::string::npos);
  CHECK(absent.message.find("name it in options.openvino_library") != std::string::npos);
  const auto other = support::open_status(support::artifact("small"), options(support::options().onnxruntime_library));
  CHECK(other.status == DEEPVIT_MISSING);
  CHECK(other.message.find("has no ov_") != std::string::npos);
}

TEST_CASE("a graph that OpenVINO cannot load is refused in its words, in one line") {
  const support::Copy copy("small");
  std::string model = support::contents(copy.path() / "model.onnx");
  const std::string node = "LayerNormalization";
  const auto at = model.find(node);
  REQUIRE(at != std::string::npos);
  for (auto i = at; i != std::string::npos; i = model.find(node, i)) model[i] = 'M';
  support::write(copy.path() / "model.onnx", model);
  auto manifest = copy.manifest();
  manifest["files"]["model.onnx"]["sha256"] = deepvit::sha256_of(model.data(), model.size());
  copy.set_manifest(manifest);
  const auto opened = support::open_status(copy.path(), options());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(opened.message.find("is not a model that OpenVINO can load: ") != std::string::npos);
  CHECK(opened.message.find("MayerNormalization") != std::string::npos);
  CHECK(opened.message.find('\n') == std::string::npos);
}

TEST_CASE("a batch of any size, and threads at once, give every image its own logits") {
  const deepvit::Model model(support::artifact("small"), options());
  const auto rows = support::expected()["small"];
  std::vector<std::thread> threads;
  std::vector<float> largest(4, INFINITY);
  const std::size_t counts[] = {1, 7, 9, 20};  // the artifact takes 1 to 8
  for (std::size_t t = 0; t < largest.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::string> encoded;
      for (std::size_t i = 0; i < counts[t]; ++i) encoded.push_back(support::image(rows[i]["image"]));
      std::vector<deepvit_bytes> images;
      for (const auto& one : encoded) images.push_back({one.data(), one.size()});
      const auto answers = model.classify(images);
      float found = 0;
      for (std::size_t i = 0; i < counts[t]; ++i) {
        const auto wanted = rows[i]["logits"].get<std::vector<float>>();
        for (std::size_t k = 0; k < wanted.size(); ++k) {
          found = std::max(found, std::fabs(answers[i].logits.at(k) - wanted[k]));
        }
      }
      largest[t] = found;
    });
  }
  for (auto& thread : threads) thread.join();
  for (float each : largest) CHECK(each <= kLogitTolerance);
}

TEST_CASE("logits that are not finite are an error of that image alone") {
  const deepvit::Model model(support::artifact("dark"), options());
  const std::string dark = support::contents(support::data() / "dark.png");
  CHECK(model.classify({{dark.data(), dark.size()}})[0].status == DEEPVIT_NOT_FINITE);
}

TEST_SUITE_END();
