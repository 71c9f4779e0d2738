#include "plugin/plugin.h"

#include <NvInferRuntime.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>

#include "artifact/artifact.h"
#include "artifact/engine_fit.h"
#include "artifact/json_node.h"
#include "artifact/schema.h"
#include "artifact/sha256.h"
#include "error.h"

namespace deepvit {
namespace {

constexpr char kVariable[] = "DEEPVIT_PLUGIN";
constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMostBytesOfRecord = 1 << 20;
constexpr std::size_t kFields = 9;  // of a record
constexpr char kRemedy[] = "; build it again: make plugin";

// What runtime/cpp/plugin/write_record.py writes.
struct Record {
  std::string sha256;
  std::string layer;
  std::string backend;
  std::int64_t backend_major = 0;
  std::string kernels_sha256;
  std::vector<std::string> compute_capabilities;

  // Machine code also runs on later GPUs of its major version.
  bool serves(const std::string& compute_capability) const {
    const Version here = numbers_of(compute_capability);
    for (const std::string& each : compute_capabilities) {
      const Version own = numbers_of(each);
      if (own.size() == 2 && here.size() >= 2 && own[0] == here[0] && own[1] <= here[1]) return true;
    }
    return false;
  }
};

Record record_from(const JsonNode& node) {
  Record record;
  node["schema"].integer(1, 1);
  node.require(node.json().size() == kFields, "has other fields");
  node["file"].text();
  node["bytes"].integer(0, kLargestInt);
  record.sha256 = node["sha256"].text();
  record.layer = node["layer"].text();
  record.backend = node["backend"].text();
  record.backend_major = node["backend_major"].integer(0, kLargestInt);
  record.kernels_sha256 = node["kernels_sha256"].text();
  node["compute_capabilities"].each([&](const JsonNode& each) { record.compute_capabilities.push_back(each.text()); });
  return record;
}

Bytes read_whole(const std::string& path, std::uint64_t most) {
  try {
    return read_file(path, 0, most, kRemedy);
  } catch (const Failure& failure) {
    throw missing(failure.what());
  }
}

Record record_beside(const std::string& library) {
  const std::string path = std::filesystem::path(library).replace_extension(".json").string();
  const Bytes bytes = read_whole(path, kMostBytesOfRecord);
  try {
    const nlohmann::json parsed = parse_strictly({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return record_from(JsonNode(parsed));
  } catch (const std::invalid_argument& fault) {
    throw missing(path + " is no record of a plugin" + kRemedy);
  }
}

void require_fit(const std::string& path, const Record& record, const EnginePlugin& built_with, const PluginUse& use) {
  if (record.layer != built_with.layer) {
    throw missing(path + " has the layer " + record.layer + ", expected " + built_with.layer + kRemedy);
  }
  if (record.backend != use.backend || record.backend_major != use.major) {
    throw missing(path + " is for " + record.backend + " " + std::to_string(record.backend_major) + ", here is " +
                  use.backend + " " + std::to_string(use.major) +
                  "; build it with the headers of that: make plugin TENSORRT_INCLUDE=DIR");
  }
  if (!record.serves(use.compute_capability)) {
    throw missing(path + " has no kernels for a GPU of compute capability " + use.compute_capability +
                  "; build the engine of a graph without the fused layer");
  }
  if (record.kernels_sha256 != built_with.kernels_sha256) {
    throw missing(path + " has kernels of SHA-256 " + record.kernels_sha256 + ", the engine was built with " +
                  built_with.kernels_sha256 + "; let " + kVariable + " name that library, or build the engine again");
  }
}

// Whether TensorRT loads a library with this content, from memory. Its descriptor stays open: a later library of the
// same number would have this one's name, and be taken for it.
bool is_loaded(const Bytes& content, nvinfer1::IPluginRegistry& registry) {
  const int descriptor = ::memfd_create("deepvit_plugin", MFD_CLOEXEC);
  std::size_t written = 0;
  while (descriptor >= 0 && written < content.size()) {
    const auto more = ::write(descriptor, content.data() + written, content.size() - written);
    if (more <= 0) break;
    written += static_cast<std::size_t>(more);
  }
  const std::string name = "/proc/self/fd/" + std::to_string(descriptor);
  if (written == content.size() && registry.loadLibrary(name.c_str()) != nullptr) return true;
  if (descriptor >= 0) ::close(descriptor);
  return false;
}

std::string named_library(const PluginUse& use, const Options& options) {
  if (!options.plugin_library.empty()) return options.plugin_library;
  const char* named = std::getenv(kVariable);
  if (named != nullptr && *named != '\0') return named;
  throw missing(use.engine + " needs the plugin of fused re-attention; let " + kVariable +
                " or options.plugin_library name its library: make plugin");
}

}  // namespace

void load_plugin(const EnginePlugin& built_with, const PluginUse& use, const SharedLibrary& tensorrt,
                 const Options& options) {
  const std::string path = named_library(use, options);
  const Record record = record_beside(path);
  const Bytes content = read_whole(path, kMostBytes);
  const std::string found = sha256_of(content.data(), content.size());
  if (found != record.sha256) {
    throw missing(path + " has SHA-256 " + found + ", the record beside it says " + record.sha256 + kRemedy);
  }
  require_fit(path, record, built_with, use);
  static std::mutex mutex;
  static std::set<std::string> loaded;  // twice would register the layer twice
  const std::lock_guard<std::mutex> lock(mutex);
  if (loaded.count(tensorrt.name() + found) == 1) return;
  nvinfer1::IPluginRegistry* registry = tensorrt.function<decltype(getPluginRegistry)>("getPluginRegistry")();
  if (registry == nullptr || !is_loaded(content, *registry)) throw missing(tensorrt.name() + " cannot load " + path);
  loaded.insert(tensorrt.name() + found);
}

}  // namespace deepvit
