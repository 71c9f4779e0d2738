// 8-bit RGB pixels, row by row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"

namespace deepvit {

// The numbers of runtime/preprocess/decode.py.
constexpr std::uint64_t kMostSide = 65'535;  // JPEG's largest
constexpr int kMegapixels = 50;              // where nobody asks for more
constexpr int kMostMegapixels = 178;         // from 178,956,970 pixels on Pillow refuses by itself

// Which images are decoded; their header says how large they are before any memory is taken for their pixels.
struct Limits {
  std::uint64_t megapixels = kMegapixels;
  std::uint64_t resize = 1;  // the shorter side that an image will be resized to

  std::uint64_t pixels() const { return megapixels * 1'000'000; }
};

struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)

  std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3; }
  const std::uint8_t* row(int y) const { return const_cast<Image*>(this)->row(y); }
};

// Passes where an image of this size may be decoded and resized.
inline void require_decodable(std::uint64_t width, std::uint64_t height, const Limits& limits) {
  const std::string image = "image of " + std::to_string(width) + "×" + std::to_string(height) + " pixels";
  const auto [shorter, longer] = std::minmax(width, height);
  if (shorter == 0) throw invalid_image(image + " has none");
  if (longer > kMostSide) {
    throw invalid_image(image + ", at most " + std::to_string(kMostSide) + " are decoded on a side");
  }
  if (width * height > limits.pixels()) {
    throw invalid_image(image + ", at most " + std::to_string(limits.megapixels) +
                        " million are decoded; max_megapixels allows more, to " + std::to_string(kMostMegapixels));
  }
  if (limits.resize * (limits.resize * longer / shorter) > limits.pixels()) {
    throw invalid_image(image + " is too elongated to resize to a shorter side of " + std::to_string(limits.resize));
  }
}

}  // namespace deepvit
