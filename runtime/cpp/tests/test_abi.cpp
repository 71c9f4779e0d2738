// The C ABI itself: what it refuses, and structs of older and newer callers.
#include <doctest/doctest.h>

#include <array>
#include <cstring>

#include "support.h"

namespace {

void remember(void* user_data, deepvit_log_level, const char* message) {
  static_cast<std::string*>(user_data)->append(message).append("\n");
}

}  // namespace

TEST_SUITE_BEGIN("abi");

TEST_CASE("the version is the header's") { CHECK(deepvit_abi_version() == DEEPVIT_ABI_VERSION); }

TEST_CASE("null pointers are refused, closing null is not") {
  deepvit_model* model = nullptr;
  CHECK(deepvit_open(nullptr, nullptr, &model) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_open("x", nullptr, nullptr) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_run(nullptr, nullptr, 1, nullptr, 0) == DEEPVIT_INVALID_ARGUMENT);
  deepvit_run_pending* run = nullptr;
  CHECK(deepvit_begin(nullptr, nullptr, 1, &run) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_begin(nullptr, nullptr, 1, nullptr) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_wait(nullptr, nullptr, 0) == DEEPVIT_INVALID_ARGUMENT);
  deepvit_free_run(nullptr);
  CHECK(deepvit_classify_encoded(nullptr, nullptr, 1, nullptr, 0, nullptr) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_crop_encoded(nullptr, nullptr, 0, nullptr, 0) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_input_from_crops(nullptr, nullptr, 1, nullptr, 0) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_get_info(nullptr, nullptr) == DEEPVIT_INVALID_ARGUMENT);
  deepvit_close(nullptr);
}

TEST_CASE("the message is the last call's, and empty after a success") {
  deepvit_model* model = nullptr;
  CHECK(deepvit_open("/no/such/folder", nullptr, &model) == DEEPVIT_INVALID_ARTIFACT);
  CHECK(model == nullptr);
  CHECK(std::string(deepvit_last_error()).find("/no/such/folder") != std::string::npos);
  const deepvit_options options = support::options();
  REQUIRE(deepvit_open(support::artifact("small").c_str(), &options, &model) == DEEPVIT_OK);
  CHECK(std::string(deepvit_last_error()).empty());
  deepvit_close(model);
}

TEST_CASE("classes have the artifact's names, numbers where it has none") {
  const deepvit::Model named(support::artifact("named"), support::options());
  CHECK(named.names_classes());
  CHECK(named.class_name(0) == "crane");
  CHECK(named.class_name(3) == "中国");
  CHECK(named.class_name(9) == "nine");
  CHECK(named.class_name(10) == "10");
  const deepvit::Model model(support::artifact("small"), support::options());
  CHECK_FALSE(model.names_classes());
  CHECK(model.class_name(3) == "3");
  CHECK(deepvit_class_name(nullptr, 0) == nullptr);
}

TEST_CASE("names of classes that the graph does not have are refused") {
  const support::Copy copy("named");
  auto manifest = copy.manifest();
  manifest["class_names"][5] = "ten";
  copy.set_manifest(manifest);
  const auto opened = support::open_status(copy.path());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(opened.message.find("class_names is ") != std::string::npos);
}

TEST_CASE("buffers that are too small are refused before anything is written") {
  const deepvit::Model model(support::artifact("small"), support::options());
  deepvit_model* raw = nullptr;
  const deepvit_options options = support::options();
  REQUIRE(deepvit_open(support::artifact("small").c_str(), &options, &raw) == DEEPVIT_OK);
  std::vector<std::byte> input(model.info().input_bytes);
  std::vector<float> logits(model.info().classes, 7.0f);
  CHECK(deepvit_run(raw, input.data(), 1, logits.data(), logits.size() - 1) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_run(raw, input.data(), 0, logits.data(), logits.size()) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(deepvit_run(raw, input.data(), SIZE_MAX, logits.data(), SIZE_MAX) == DEEPVIT_INVALID_ARGUMENT);
  deepvit_run_pending* run = nullptr;
  CHECK(deepvit_begin(raw, input.data(), 0, &run) == DEEPVIT_INVALID_ARGUMENT);
  REQUIRE(deepvit_begin(raw, input.data(), 1, &run) == DEEPVIT_OK);
  CHECK(deepvit_wait(run, logits.data(), logits.size() - 1) == DEEPVIT_INVALID_ARGUMENT);
  std::uint8_t crop[1] = {7};
  const std::string image = support::image(support::expected()["small"][0]["image"]);
  CHECK(deepvit_crop_encoded(raw, image.data(), image.size(), crop, 1) == DEEPVIT_INVALID_ARGUMENT);
  CHECK(crop[0] == 7);
  CHECK(logits[0] == 7.0f);
  deepvit_close(raw);
  CHECK(deepvit_wait(run, logits.data(), logits.size()) == DEEPVIT_OK);  // of the closed model
  CHECK(logits == model.run(input.data(), 1));
  deepvit_free_run(run);
}

TEST_CASE("options of an older caller are shorter, those of a newer one are refused if set") {
  struct Newer {
    deepvit_options known;
    void* unknown;
  } newer = {support::options(), nullptr};
  newer.known.struct_size = sizeof newer;
  deepvit_model* model = nullptr;
  CHECK(deepvit_open(support::artifact("small").c_str(), &newer.known, &model) == DEEPVIT_OK);
  deepvit_close(model);
  newer.unknown = &newer;
  CHECK(deepvit_open(support::artifact("small").c_str(), &newer.known, &model) == DEEPVIT_INVALID_ARGUMENT);
  deepvit_options older = support::options();
  older.struct_size = offsetof(deepvit_options, log);
  CHECK(support::open_status(support::artifact("small"), older).status == DEEPVIT_OK);
  older.openvino_library = "/beyond/the/end";
  older.struct_size = offsetof(deepvit_options, openvino_library);
  older.backend = DEEPVIT_BACKEND_OPENVINO;
  CHECK(support::open_status(support::artifact("small"), older).message.find("/beyond") == std::string::npos);
  older.plugin_library = "/beyond/the/end";
  older.struct_size = offsetof(deepvit_options, plugin_library);
  older.backend = DEEPVIT_BACKEND_ONNXRUNTIME;
  CHECK(support::open_status(support::artifact("small"), older).status == DEEPVIT_OK);
  older.struct_size = 0;
  CHECK(support::open_status(support::artifact("small"), older).status == DEEPVIT_INVALID_ARGUMENT);
}

TEST_CASE("options out of range are refused") {
  for (auto change : std::vector<void (*)(deepvit_options&)>{
           [](deepvit_options& o) { o.backend = 5; }, [](deepvit_options& o) { o.backend = -1; },
           [](deepvit_options& o) { o.threads = -1; }, [](deepvit_options& o) { o.contexts = 1 << 30; },
           [](deepvit_options& o) { o.max_megapixels = 179; }}) {
    deepvit_options options = support::options();
    change(options);
    CHECK(support::open_status(support::artifact("small"), options).status == DEEPVIT_INVALID_ARGUMENT);
  }
}

TEST_CASE("info says what the model takes, in structs of any age") {
  const deepvit::Model model(support::artifact("small"), support::options());
  CHECK(std::string(model.info().variant) == "small");
  CHECK(std::string(model.info().backend).find("ONNX Runtime") == 0);
  CHECK(model.info().classes == 10);
  CHECK(model.info().crop == 224);
  CHECK(model.info().input_bytes == 224 * 224 * 3 * sizeof(float));
  CHECK(model.info().batch_max == 8);
  CHECK(model.info().random_weights == 1);
  CHECK(deepvit::Model(support::artifact("uint8"), support::options()).info().takes_uint8 == 1);
  deepvit_model* raw = nullptr;
  const deepvit_options options = support::options();
  REQUIRE(deepvit_open(support::artifact("small").c_str(), &options, &raw) == DEEPVIT_OK);
  std::array<unsigned char, sizeof(deepvit_info) + 8> room;
  room.fill(0xee);
  const std::size_t size = offsetof(deepvit_info, precision);
  std::memcpy(room.data(), &size, sizeof size);
  CHECK(deepvit_get_info(raw, reinterpret_cast<deepvit_info*>(room.data())) == DEEPVIT_OK);
  CHECK(room[size] == 0xee);  // an older caller's struct ends there
  deepvit_close(raw);
}

TEST_CASE("the caller's logger hears that weights are random") {
  std::string heard;
  deepvit_options options = support::options();
  options.log = remember;
  options.log_user_data = &heard;
  CHECK(support::open_status(support::artifact("small"), options).status == DEEPVIT_OK);
  CHECK(heard.find("random weights") != std::string::npos);
}

TEST_SUITE_END();
