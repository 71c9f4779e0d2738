// What the tests share: the data that data/make_test_data.py wrote, and shorthand.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "deepvit/deepvit.hpp"

namespace support {

inline std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') throw std::runtime_error(std::string(name) + " is not set; run ctest");
  return value;
}

inline std::filesystem::path data() { return variable("DEEPVIT_TEST_DATA"); }

inline std::string artifact(const std::string& name) { return (data() / "artifacts" / name).string(); }

// One thread, as the Python runtime had that wrote the expected logits.
inline deepvit_options options() {
  static const std::string library = variable("DEEPVIT_TEST_ONNXRUNTIME");
  deepvit_options options = DEEPVIT_OPTIONS_INIT;
  options.threads = 1;
  options.onnxruntime_library = library.c_str();
  return options;
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write(const std::filesystem::path& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

inline nlohmann::json expected() { return nlohmann::json::parse(contents(data() / "expected.json")); }

inline std::string image(const std::string& name) { return contents(data() / "images" / name); }

// The status of opening `folder`, and the message.
struct Opened {
  deepvit_status status;
  std::string message;
};

inline Opened open_status(const std::string& folder, deepvit_options with = options()) {
  deepvit_model* model = nullptr;
  const deepvit_status status = deepvit_open(folder.c_str(), &with, &model);
  const std::string message = deepvit_last_error();
  deepvit_close(model);
  return {status, message};
}

// A copy of an artifact in a folder of its own, which goes with it.
class Copy {
 public:
  explicit Copy(const std::string& name) {
    std::string pattern = (std::filesystem::temp_directory_path() / "deepvit-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
    std::filesystem::copy(artifact(name), path_, std::filesystem::copy_options::recursive);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  ~Copy() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }

  nlohmann::json manifest() const { return nlohmann::json::parse(contents(path_ / "manifest.json")); }
  void set_manifest(const nlohmann::json& manifest) const { write(path_ / "manifest.json", manifest.dump()); }

 private:
  std::filesystem::path path_;
};

}  // namespace support
