// Hostile and damaged input of every kind: a status and a line of text each, and nothing else.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>

#include "support.h"

namespace {

#ifdef __SANITIZE_THREAD__
constexpr int kImageMutants = 500;  // one thread only: AddressSanitizer's build is what these are for
constexpr int kManifestMutants = 100;
#else
constexpr int kImageMutants = 5000;
constexpr int kManifestMutants = 1000;
#endif
constexpr int kModelMutants = 300;
constexpr unsigned kSeed = 20240607;

std::string mutated(std::string bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  switch (below(6)) {
    case 0:  // flip bits
      for (std::size_t i = 0, n = 1 + below(8); i < n; ++i)
        bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
      break;
    case 1:  // truncate
      bytes.resize(below(bytes.size()));
      break;
    case 2:  // remove a piece
      bytes.erase(below(bytes.size()), 1 + below(64));
      break;
    case 3: {  // repeat a piece
      const std::string piece = bytes.substr(below(bytes.size()), 1 + below(64));
      bytes.insert(below(bytes.size()), piece);
      break;
    }
    case 4:  // extreme values, most of them near the header
      for (std::size_t i = 0, n = 1 + below(4); i < n; ++i) {
        bytes[below(std::min<std::size_t>(bytes.size(), below(2) == 0 ? 64 : bytes.size()))] =
            below(2) == 0 ? '\xff' : '\0';
      }
      break;
    default:  // noise
      for (std::size_t i = 0, start = below(bytes.size()); i < 32 && start + i < bytes.size(); ++i) {
        bytes[start + i] = static_cast<char>(below(256));
      }
  }
  return bytes;
}

#ifdef DEEPVIT_SANITIZED
constexpr long kGrowthKib = 1 << 20;  // sanitizers keep freed memory to themselves
#else
constexpr long kGrowthKib = 100'000;
#endif

std::string bytes_from(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

bool is_one_line(const std::string& text) { return !text.empty() && text.find('\n') == std::string::npos; }

}  // namespace

TEST_SUITE_BEGIN("mutants");

// First, while the peak of memory is still low.
TEST_CASE("images that the Python runtime refuses by their headers are refused here, and for the same reason") {
  const std::map<std::string, std::string> words{{"pixels", "million are decoded"},
                                                 {"side", "are decoded on a side"},
                                                 {"elongated", "too elongated"},
                                                 {"empty", ""},
                                                 {"format", "neither a JPEG nor a PNG"}};
  const auto table = nlohmann::json::parse(support::contents(IMAGE_LIMIT_CASES));
  const deepvit::Model model(support::artifact("small"), support::options());
  const auto good = support::image(support::expected()["small"][0]["image"]);
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  REQUIRE(table["cases"].size() >= 20);
  for (const auto& row : table["cases"]) {
    CAPTURE(row["name"].get<std::string>());
    const std::string image = bytes_from(row["hex"]);
    const auto answers = model.classify({{image.data(), image.size()}, {good.data(), good.size()}});
    CHECK(answers[0].status == DEEPVIT_INVALID_IMAGE);
    CHECK(answers[1].status == DEEPVIT_OK);
    try {
      model.crop(image.data(), image.size());
      FAIL("decoded");
    } catch (const deepvit::Error& error) {
      CHECK(error.status() == DEEPVIT_INVALID_IMAGE);
      CHECK_MESSAGE(std::string(error.what()).find(words.at(row["refused"])) != std::string::npos, error.what());
    }
  }
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  MESSAGE("peak grown by " << after.ru_maxrss - before.ru_maxrss << " KiB");
  CHECK(after.ru_maxrss - before.ru_maxrss < kGrowthKib);
}

TEST_CASE("the largest image is an option") {
  const auto table = nlohmann::json::parse(support::contents(IMAGE_LIMIT_CASES));
  const auto row = std::find_if(table["cases"].begin(), table["cases"].end(),
                                [](const auto& each) { return each["name"] == "png-7143x7000"; });
  REQUIRE(row != table["cases"].end());
  const std::string image = bytes_from((*row)["hex"]);
  deepvit_options options = support::options();
  options.max_megapixels = 51;
  const deepvit::Model model(support::artifact("small"), options);
  CHECK_THROWS_WITH(model.crop(image.data(), image.size()), doctest::Contains("PNG cannot be decoded"));
}

#ifndef DEEPVIT_SANITIZED
TEST_CASE("an image for which there is no memory fails alone") {
  const std::string large = bytes_from(
      "89504e470d0a1a0a0000000d4948445200001b5800001b58080200000016f92cd8"
      "0000000b49444154789c636080020000090001fb52b8a9");
  const auto good = support::image(support::expected()["small"][0]["image"]);
  const deepvit::Model model(support::artifact("small"), support::options());
  REQUIRE(model.classify({{good.data(), good.size()}})[0].status == DEEPVIT_OK);  // takes the memory that this needs
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  std::ifstream pages("/proc/self/statm");
  rlim_t used = 0;
  pages >> used;
  const rlimit little{used * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (64u << 20), before.rlim_max};
  setrlimit(RLIMIT_AS, &little);
  const auto answers = model.classify({{large.data(), large.size()}, {good.data(), good.size()}});
  std::string message = deepvit_last_error();
  setrlimit(RLIMIT_AS, &before);
  CHECK(answers[0].status == DEEPVIT_INVALID_IMAGE);
  CHECK_MESSAGE(message.find("not enough memory") != std::string::npos, message);
  CHECK(answers[1].status == DEEPVIT_OK);
}
#endif

TEST_CASE("5,000 damaged images") {
  const auto rows = support::expected()["small"];
  deepvit_model* model = nullptr;
  const deepvit_options options = support::options();
  REQUIRE(deepvit_open(support::artifact("small").c_str(), &options, &model) == DEEPVIT_OK);
  std::mt19937 random(kSeed);
  std::vector<std::string> originals;
  for (const auto& row : rows) {
    originals.push_back(support::image(row["image"]));
    if (originals.back().size() > 60'000) originals.pop_back();  // small files: more of the damage meets headers
  }
  REQUIRE(originals.size() > 100);
  std::map<deepvit_status, int> counts;
  std::vector<std::uint8_t> crop(224 * 224 * 3);
  for (int i = 0; i < kImageMutants; ++i) {
    const std::string bytes = mutated(originals[static_cast<std::size_t>(i) % originals.size()], random);
    const std::vector<char> exact(bytes.begin(), bytes.end());  // no room behind the end, so that ASan sees over-reads
    const deepvit_status status =
        deepvit_crop_encoded(model, exact.empty() ? "" : exact.data(), exact.size(), crop.data(), crop.size());
    ++counts[status];
    CHECK((status == DEEPVIT_OK || status == DEEPVIT_INVALID_IMAGE));
    if (status != DEEPVIT_OK) CHECK(is_one_line(deepvit_last_error()));
  }
  deepvit_close(model);
  MESSAGE(counts[DEEPVIT_OK] << " decoded, " << counts[DEEPVIT_INVALID_IMAGE] << " refused, seed " << kSeed);
  CHECK(counts[DEEPVIT_OK] > kImageMutants / 10);
  CHECK(counts[DEEPVIT_INVALID_IMAGE] > kImageMutants / 5);
}

TEST_CASE("1,000 damaged manifests") {
  const support::Copy copy("small");
  const std::string original = support::contents(copy.path() / "manifest.json");
  std::mt19937 random(kSeed);
  int refused = 0;
  for (int i = 0; i < kManifestMutants; ++i) {
    support::write(copy.path() / "manifest.json", mutated(original, random));
    const auto opened = support::open_status(copy.path().string());
    CHECK((opened.status == DEEPVIT_OK || opened.status == DEEPVIT_INVALID_ARTIFACT));
    if (opened.status != DEEPVIT_OK) CHECK(is_one_line(opened.message));
    refused += opened.status == DEEPVIT_OK ? 0 : 1;
  }
  CHECK(refused > kManifestMutants / 3);
}

TEST_CASE("300 damaged models and plans never reach what would load them") {
  const support::Copy copy("engine");
  for (const char* name : {"model.onnx", "engine.plan"}) {
    const std::string original = support::contents(copy.path() / name);
    std::mt19937 random(kSeed);
    for (int i = 0; i < kModelMutants; ++i) {
      const std::string damaged = mutated(original, random);
      if (damaged == original) continue;
      support::write(copy.path() / name, damaged);
      deepvit_options options = support::options();
      options.backend = std::string(name) == "model.onnx" ? DEEPVIT_BACKEND_ONNXRUNTIME : DEEPVIT_BACKEND_TENSORRT;
      const auto opened = support::open_status(copy.path().string(), options);
      // Where TensorRT is missing, that is what is said first.
      CHECK((opened.status == DEEPVIT_INVALID_ARTIFACT || opened.status == DEEPVIT_MISSING));
      CHECK(is_one_line(opened.message));
      if (std::string(name) == "model.onnx") CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
    }
    support::write(copy.path() / name, original);
  }
}

TEST_SUITE_END();
