// 8-bit RGB pixels, row by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"

namespace deepvit {

constexpr std::uint64_t kMostPixels = 178'956'970;  // Pillow's limit for a decompression bomb; 512 MiB as RGB

struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)

  std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3; }
  const std::uint8_t* row(int y) const { return const_cast<Image*>(this)->row(y); }
};

// Passes where an image of this size may be decoded.
inline void require_decodable(std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0) throw invalid_image("image has no pixels");
  if (width * height > kMostPixels) {
    throw invalid_image("image of " + std::to_string(width) + "×" + std::to_string(height) + " pixels, at most " +
                        std::to_string(kMostPixels) + " are decoded");
  }
}

}  // namespace deepvit
