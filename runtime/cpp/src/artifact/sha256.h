// SHA-256 in lower-case hexadecimal, by OpenSSL. Header-only, because the command-line tool has no part in the library.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace deepvit {

inline std::string sha256_of(const void* data, std::size_t size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(data, size, digest, &length, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("OpenSSL cannot compute a SHA-256");
  }
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", digest[i]);
    text += pair;
  }
  return text;
}

}  // namespace deepvit
