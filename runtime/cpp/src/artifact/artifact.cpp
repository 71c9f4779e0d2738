#include "artifact/artifact.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "artifact/sha256.h"
#include "error.h"

namespace deepvit {
namespace {

constexpr char kExportAgain[] = "; export again";
constexpr std::uint64_t kLargestManifest = 1 << 20;
constexpr std::uint64_t kLargestModel = (std::uint64_t{2} << 30) - 1;  // of any protobuf
constexpr std::uint64_t kLargestFile = std::uint64_t{8}
                                       << 30;  // of a plan, which has a model's weights a few times at most

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Opened without waiting for the other end of a pipe; with a regular file it makes no difference.
File open_at_once(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return nullptr;
  File file(::fdopen(descriptor, "rb"));
  if (!file) ::close(descriptor);
  return file;
}

Manifest read_manifest(const std::string& folder) {
  std::error_code fault;
  if (!std::filesystem::is_directory(folder, fault)) {
    throw invalid_artifact("artifact " + folder + " does not exist; export one: python cli.py export deepvit_32");
  }
  const std::string path = folder + "/manifest.json";
  const Bytes bytes = read_file(path, 0, kLargestManifest, kExportAgain);
  return parse_manifest({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace

Bytes read_file(const std::string& path, std::uint64_t least, std::uint64_t most, const std::string& remedy) {
  const File file = open_at_once(path);
  struct stat status{};
  const bool is_open = file != nullptr && ::fstat(::fileno(file.get()), &status) == 0;
  if (!is_open || !S_ISREG(status.st_mode)) {
    throw invalid_artifact(path + " cannot be read: " + (is_open ? "not a file" : std::strerror(errno)) + remedy);
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < least || size > most) {
    const std::string expected = least == most ? std::to_string(most) : "at most " + std::to_string(most);
    throw invalid_artifact(path + " has " + std::to_string(size) + " bytes, expected " + expected + remedy);
  }
  Bytes bytes(size);
  if (std::fread(bytes.data(), 1, size, file.get()) != size) {
    throw invalid_artifact(path + " cannot be read: it has become shorter meanwhile" + remedy);
  }
  return bytes;
}

Artifact::Artifact(const std::string& folder) : folder_(folder), manifest_(read_manifest(folder)) {}

Bytes Artifact::read(const std::string& name) const {
  const auto found = manifest_.files.find(name);
  if (found == manifest_.files.end()) throw invalid_artifact(path(name) + " is not part of the artifact");
  const FileRecord& record = found->second;
  const std::uint64_t most = std::filesystem::path(name).extension() == ".onnx" ? kLargestModel : kLargestFile;
  if (record.bytes > most) {
    throw invalid_artifact(path(name) + " has " + std::to_string(record.bytes) +
                           " bytes by its manifest, expected at most " + std::to_string(most) + "; export again");
  }
  Bytes bytes = read_file(path(name), record.bytes, record.bytes, kExportAgain);
  const std::string got = sha256_of(bytes.data(), bytes.size());
  if (got != record.sha256) {
    throw invalid_artifact(path(name) + " has SHA-256 " + got.substr(0, 16) + "…, expected " +
                           record.sha256.substr(0, 16) +
                           "… by its manifest; it is not what was exported: export again");
  }
  return bytes;
}

}  // namespace deepvit
