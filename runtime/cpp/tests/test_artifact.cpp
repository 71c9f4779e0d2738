// Nothing is loaded that is not what was exported; each refusal has its status.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstddef>
#include <vector>

#include "artifact/self_contained.h"
#include "artifact/sha256.h"
#include "error.h"
#include "support.h"

namespace {

// Protobuf by hand: a number, and bytes under the fields of `path`, the outermost first.
std::string number(std::uint64_t value) {
  std::string bytes;
  for (; value > 127; value >>= 7) bytes.push_back(static_cast<char>((value & 127U) | 128U));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string within(const std::vector<int>& path, std::string bytes) {
  for (auto field = path.rbegin(); field != path.rend(); ++field) {
    bytes = number(static_cast<std::uint64_t>(*field) << 3 | 2) + number(bytes.size()) + bytes;
  }
  return bytes;
}

std::string refusal(const std::string& model) {
  try {
    deepvit::require_self_contained(reinterpret_cast<const std::byte*>(model.data()), model.size(), "m");
  } catch (const deepvit::Failure& failure) {
    CHECK(failure.status == DEEPVIT_INVALID_ARTIFACT);
    return failure.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE_BEGIN("artifact");

TEST_CASE("a changed byte, a missing or an added one is refused, and the file's name is said") {
  for (int change = 0; change < 4; ++change) {
    const support::Copy copy("small");
    const auto path = copy.path() / "model.onnx";
    std::string model = support::contents(path);
    if (change == 0) model[model.size() / 2] ^= 1;
    if (change == 1) model.pop_back();
    if (change == 2) model.push_back('\0');
    support::write(path, model);
    if (change == 3) std::filesystem::remove(path);
    const auto opened = support::open_status(copy.path().string());
    CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
    CHECK(opened.message.find("model.onnx") != std::string::npos);
  }
}

TEST_CASE("a model of another shape or garbage is refused, its hash being right") {
  const support::Copy copy("small");
  auto manifest = copy.manifest();
  manifest["classes"] = 11;
  manifest["output"]["shape"][1] = 11;
  copy.set_manifest(manifest);
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_INVALID_ARTIFACT);

  const support::Copy garbage("small");
  support::write(garbage.path() / "model.onnx", "abc");
  manifest = garbage.manifest();
  manifest["files"]["model.onnx"] = {{"bytes", 3},
                                     {"sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}};
  garbage.set_manifest(manifest);
  const auto opened = support::open_status(garbage.path().string());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(opened.message.find("not a model that ONNX Runtime can load") != std::string::npos);
}

TEST_CASE("a file that no model or plan can be is not read, though the manifest says its size") {
  const support::Copy copy("small");
  const std::uintmax_t most = (std::uintmax_t{2} << 30) - 1;
  std::filesystem::resize_file(copy.path() / "model.onnx", most + 1);  // holes
  auto manifest = copy.manifest();
  manifest["files"]["model.onnx"]["bytes"] = most + 1;
  copy.set_manifest(manifest);
  CHECK(has(support::open_status(copy.path().string()).message, "expected at most 2147483647"));
}

TEST_CASE("a file of more fields than any model has is refused before it is walked to its end") {
  std::string model;
  for (int i = 0; i < 4'000'000; ++i) model += "\x38\x01";
  CHECK(refusal(model).empty());
  CHECK(has(refusal(model + "\x38\x01"), "it is damaged"));
}

TEST_CASE("a manifest that is not the graph's is refused, and the field is named") {
  const std::pair<const char*, nlohmann::json> changes[] = {
      {"/preprocess/mean", {0.9, 0.9, 0.9}},
      {"/preprocess/std", {0.1, 0.1, 0.1}},
      {"/preprocess/resize", 249},
      {"/preprocess/interpolation", "bilinear"},
      {"/variant", "deepvit_32"},
      {"/precision", "fp16"},
      {"/weights/sha256", std::string(64, '1')},
      {"/weights/source", "checkpoint"},
      {"/input/name", "pixels"},
      {"/output/name", "scores"},
      {"/golden/logits/0", 1e3},
      {"/golden/input_sha256", std::string(64, '1')},
      {"/golden", nullptr},
  };
  const support::Copy copy("small");
  const auto original = copy.manifest();
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_OK);
  for (const auto& [pointer, value] : changes) {
    INFO(pointer);
    auto manifest = original;
    manifest[nlohmann::json::json_pointer(pointer)] = value;
    copy.set_manifest(manifest);
    const auto opened = support::open_status(copy.path().string());
    INFO(opened.message);
    CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
    std::string path = std::string(pointer).substr(1);
    for (char& letter : path) letter = letter == '/' ? '.' : letter;
    CHECK(opened.message.find(path[0] == 'g' ? "golden" : path + " is ") != std::string::npos);
  }
}

TEST_CASE("a folder without a manifest, or with a folder in its place, is no artifact") {
  const support::Copy copy("small");
  std::filesystem::remove(copy.path() / "manifest.json");
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_INVALID_ARTIFACT);
  std::filesystem::create_directory(copy.path() / "manifest.json");
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(support::open_status((copy.path() / "model.onnx").string()).status == DEEPVIT_INVALID_ARTIFACT);
}

TEST_CASE("values in another file are refused wherever in the model the tensor is") {
  const std::vector<std::vector<int>> tensors = {
      {7, 5},                    // an initialiser
      {7, 15, 1},                // a sparse one's values
      {7, 15, 2},                // and indices
      {7, 1, 5, 5},              // an attribute
      {7, 1, 5, 10},             // a list of tensors
      {7, 1, 5, 22, 1},          // a sparse attribute
      {7, 1, 5, 23, 2},          // a list of them
      {7, 1, 5, 6, 5},           // a branch
      {7, 1, 5, 11, 1, 5, 5},    // a list of graphs
      {7, 1, 5, 6, 1, 5, 6, 5},  // a branch in a loop
      {25, 7, 5, 5},             // a function
      {25, 11, 5},               // a function's attribute
      {20, 1, 5},                // training
      {20, 2, 1, 5, 5},
  };
  const std::string entry = within({1}, "location") + within({2}, "w.bin");
  for (const auto& path : tensors) {
    for (const std::string& external : {number(14 << 3) + number(1), within({13}, entry), within({13}, "")}) {
      CHECK(has(refusal(within(path, within({8}, "w") + external)), "another file"));
    }
    CHECK(refusal(within(path, within({8}, "w") + number(14 << 3) + number(0))).empty());
  }
  CHECK(has(refusal(within({7, 1, 4}, "EPContext")), "holds an engine"));
  CHECK(has(refusal(std::string("\x20\0\0\0ORTM", 8)), "own format"));
  CHECK(has(refusal(within(std::vector<int>(1, 7), within({1, 5, 6, 1, 5, 6, 1, 5, 6}, "\x3b"))), "damaged"));
  std::vector<int> deep = {7};
  for (int i = 0; i < 40; ++i) deep.insert(deep.end(), {1, 5, 6});
  CHECK(has(refusal(within(deep, "")), "nests more than 100 deep"));
}

TEST_CASE("a model with its weights elsewhere does not open, its hash being right") {
  const support::Copy copy("small");
  const std::string external = within({7, 5}, within({8}, "w") + within({13}, within({1}, "location")));
  const std::string model = support::contents(copy.path() / "model.onnx") + external;
  support::write(copy.path() / "model.onnx", model);
  auto manifest = copy.manifest();
  manifest["files"]["model.onnx"] = {{"bytes", model.size()},
                                     {"sha256", deepvit::sha256_of(model.data(), model.size())}};
  copy.set_manifest(manifest);
  const auto opened = support::open_status(copy.path().string());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(has(opened.message, "keeps the values of a tensor in another file"));
}

TEST_CASE("a graph that says twice what it is is refused: who reads it may take either") {
  const support::Copy copy("small");
  std::string model = support::contents(copy.path() / "model.onnx");
  model += std::string("\x72\x0c\x0a\x07") + "deepvit" + "\x12\x01{";  // metadata_props: key, value
  support::write(copy.path() / "model.onnx", model);
  auto manifest = copy.manifest();
  manifest["files"]["model.onnx"] = {{"bytes", model.size()},
                                     {"sha256", deepvit::sha256_of(model.data(), model.size())}};
  copy.set_manifest(manifest);
  const auto opened = support::open_status(copy.path());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(opened.message.find("says twice in its metadata what it is") != std::string::npos);
}

TEST_CASE("a pipe in the place of a file is refused at once") {
  for (const char* name : {"model.onnx", "manifest.json"}) {
    const support::Copy copy("small");
    std::filesystem::remove(copy.path() / name);
    REQUIRE(::mkfifo((copy.path() / name).c_str(), 0600) == 0);
    const auto opened = support::open_status(copy.path().string());
    CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
    CHECK(has(opened.message, "not a file"));
  }
}

TEST_CASE("a library that is not there is what this machine lacks") {
  deepvit_options options = support::options();
  options.backend = DEEPVIT_BACKEND_TENSORRT;
  CHECK(support::open_status(support::artifact("small"), options).status == DEEPVIT_INVALID_ARTIFACT);  // no engine
  const auto opened = support::open_status(support::artifact("engine"), options);
  CHECK(opened.status == DEEPVIT_MISSING);
  CHECK(!opened.message.empty());
}

TEST_CASE("an engine that cannot run here is passed over, and the log says why") {
  std::string heard;
  deepvit_options options = support::options();
  options.log = [](void* user_data, deepvit_log_level, const char* message) {
    static_cast<std::string*>(user_data)->append(message);
  };
  options.log_user_data = &heard;
  CHECK(support::open_status(support::artifact("engine"), options).status == DEEPVIT_OK);
  CHECK(heard.find("not using") != std::string::npos);
}

TEST_SUITE_END();
