// Nothing is loaded that is not what was exported; each refusal has its status.
#include <doctest/doctest.h>

#include "support.h"

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

TEST_CASE("a folder without a manifest, or with a folder in its place, is no artifact") {
  const support::Copy copy("small");
  std::filesystem::remove(copy.path() / "manifest.json");
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_INVALID_ARTIFACT);
  std::filesystem::create_directory(copy.path() / "manifest.json");
  CHECK(support::open_status(copy.path().string()).status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(support::open_status((copy.path() / "model.onnx").string()).status == DEEPVIT_INVALID_ARTIFACT);
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
