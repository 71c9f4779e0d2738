#include "cache/kernel_cache.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <system_error>

namespace deepvit {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[] = "deepvit kernels 1\n";
constexpr std::size_t kMagicBytes = sizeof kMagic - 1;
constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kMostBytes = std::size_t{256} << 20;  // of a file
constexpr std::size_t kMostFiles = 64;                      // in the folder; the one written longest ago goes

std::system_error system_fault(const std::string& what) { return {errno, std::generic_category(), what}; }

// Closed when it goes, which also lets go of its lock.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  bool is_open() const { return value_ >= 0; }
  int value() const { return value_; }

 private:
  const int value_;
};

fs::path cache_root() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string chosen = variable("DEEPVIT_CACHE"); !chosen.empty()) return chosen;
  if (const std::string base = variable("XDG_CACHE_HOME"); !base.empty()) return fs::path(base) / "deepvit";
  if (const std::string home = variable("HOME"); !home.empty()) return fs::path(home) / ".cache" / "deepvit";
  throw std::runtime_error("neither DEEPVIT_CACHE nor HOME says where");
}

// Makes a folder where there is none, and refuses one of others or that others can write to: kernels are code.
fs::path own_folder(const fs::path& asked) {
  const fs::path folder = fs::weakly_canonical(asked);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw system_fault(folder.string() + " cannot be made");
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) throw system_fault(folder.string());
  if (!S_ISDIR(status.st_mode)) throw std::runtime_error(folder.string() + " is no folder");
  if (status.st_uid != ::getuid()) throw std::runtime_error(folder.string() + " belongs to another user");
  if ((status.st_mode & 022) != 0)
    throw std::runtime_error(folder.string() + " can be written by others; chmod 700 it");
  return folder;
}

// What is no letter, digit or dot becomes a dash, many of them one, and none is left at the ends.
std::string in_a_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool is_plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
    if (is_plain) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  if (!name.empty() && name.back() == '-') name.pop_back();
  return name;
}

// A hash that also tells one file's content from another's.
std::string digest_of(const fs::path& path, const void* kernels, std::size_t size) {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  const std::string name = path.filename().string() + "\n";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  const bool is_done = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1 &&
                       EVP_DigestUpdate(context.get(), name.data(), name.size()) == 1 &&
                       EVP_DigestUpdate(context.get(), kernels, size) == 1 &&
                       EVP_DigestFinal_ex(context.get(), digest, &length) == 1 && length == kDigestBytes;
  if (!is_done) throw std::runtime_error("OpenSSL cannot compute a SHA-256");
  return {reinterpret_cast<const char*>(digest), kDigestBytes};
}

void write_all(const Descriptor& file, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file.value(), bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw system_fault("cannot be written");
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

// Beside `path`, hidden, by a name that nobody can have planted: as runtime/files/replacement.py names what it stages,
// which removes those that nobody holds the lock of.
fs::path staged_beside(const fs::path& path) {
  static const char digits[] = "0123456789abcdef";
  std::random_device random;
  std::string token;
  for (int i = 0; i < 16; ++i) token += digits[random() % 16];
  return path.parent_path() / ("." + path.filename().string().substr(0, 200) + "." + token + ".part");
}

void remove_oldest(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code ignored;  // another process removes them as well
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".cache" && entry.is_regular_file(ignored)) {
      files.emplace_back(entry.last_write_time(ignored), entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i + kMostFiles < files.size(); ++i) fs::remove(files[i].second, ignored);
}

void replace_file(const fs::path& path, const void* kernels, std::size_t size) {
  if (size > kMostBytes) throw std::runtime_error("they have " + std::to_string(size) + " bytes");
  if (fs::exists(path) && !fs::is_regular_file(path)) throw std::runtime_error("it is no file");
  const std::string digest = digest_of(path, kernels, size);
  const fs::path staged = staged_beside(path);
  const Descriptor file(staged.string(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (!file.is_open()) throw system_fault("cannot be written");
  try {
    if (::flock(file.value(), LOCK_EX) != 0) throw system_fault("cannot be locked");
    write_all(file, kMagic, kMagicBytes);
    write_all(file, digest.data(), digest.size());
    write_all(file, kernels, size);
    if (::fsync(file.value()) != 0) throw system_fault("cannot be written");
    fs::rename(staged, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(staged, ignored);
    throw;
  }
  remove_oldest(path.parent_path());
}

std::optional<Bytes> content_of(const fs::path& path) {
  const Descriptor file(path.string(), O_RDONLY | O_NONBLOCK);
  if (!file.is_open()) {
    if (errno == ENOENT) return std::nullopt;
    throw system_fault("cannot be read");
  }
  struct stat status{};
  if (::fstat(file.value(), &status) != 0 || !S_ISREG(status.st_mode)) throw std::runtime_error("it is no file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > kMostBytes) throw std::runtime_error("it has " + std::to_string(size) + " bytes");
  Bytes content(size);
  std::size_t read = 0;
  while (read < size) {
    const ssize_t got = ::read(file.value(), content.data() + read, size - read);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::runtime_error("it cannot be read");
    read += static_cast<std::size_t>(got);
  }
  return content;
}

}  // namespace

std::string kernel_cache_path(const KernelCacheKey& key, const Log& log) {
  std::string name;
  for (const std::string& part :
       {key.plan_sha256, key.version, key.gpu, key.compute_capability, "cuda-" + key.driver}) {
    name += (name.empty() ? "" : "_") + in_a_name(part);
  }
  try {
    const fs::path root = fs::weakly_canonical(cache_root());
    fs::create_directories(root.parent_path());
    return (own_folder(own_folder(root) / "kernels") / (name + ".cache")).string();
  } catch (const std::exception& error) {
    log(DEEPVIT_LOG_WARNING,
        std::string("compiled kernels are not kept, every process compiles them again: ") + error.what());
    return "";
  }
}

std::optional<Bytes> read_kernels(const std::string& path, const Log& log) {
  try {
    std::optional<Bytes> content = content_of(path);
    if (!content) return std::nullopt;
    constexpr std::size_t start = kMagicBytes + kDigestBytes;
    if (content->size() >= start) {
      const std::string expected = kMagic + digest_of(path, content->data() + start, content->size() - start);
      if (std::memcmp(content->data(), expected.data(), start) == 0)
        return Bytes(content->begin() + start, content->end());
    }
    throw std::runtime_error("they are damaged, or of another file");
  } catch (const std::exception& error) {
    log(DEEPVIT_LOG_WARNING, "compiled kernels in " + path + " are not used: " + error.what());
    return std::nullopt;
  }
}

bool write_kernels(const std::string& path, const void* kernels, std::size_t size, const Log& log) {
  try {
    replace_file(path, kernels, size);
    return true;
  } catch (const std::exception& error) {
    log(DEEPVIT_LOG_WARNING, "compiled kernels cannot be kept in " + path + ": " + error.what());
    return false;
  }
}

}  // namespace deepvit
