// An artifact folder: its manifest, and its files, whose hashes are checked as they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace deepvit {

using Bytes = std::vector<std::byte>;

// The whole of a regular file that has `least` to `most` bytes; the size is looked at first, so that nothing huge is
// read, and at the opened file, so that nobody exchanges it in between. Throws DEEPVIT_INVALID_ARTIFACT, with `remedy`.
Bytes read_file(const std::string& path, std::uint64_t least, std::uint64_t most, const std::string& remedy);

class Artifact {
 public:
  // Throws DEEPVIT_INVALID_ARTIFACT: no folder, or no valid manifest in it.
  explicit Artifact(const std::string& folder);

  const Manifest& manifest() const { return manifest_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // The bytes of a file, which are those whose hash was checked. Throws DEEPVIT_INVALID_ARTIFACT.
  Bytes read(const std::string& name) const;

 private:
  std::string folder_;
  Manifest manifest_;
};

}  // namespace deepvit
