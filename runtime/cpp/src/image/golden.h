// The image that every artifact is proved on when it is opened, the pixels of golden_image in
// runtime/preprocess/crop.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "image/image.h"

namespace deepvit {

inline Image golden_image(int crop) {
  const int side = std::min(crop, 1024);
  Image image;
  image.width = side + side / 2;
  image.height = side + side / 4;
  image.rgb.reserve(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int slopes = 40 * (c + 1) * x / image.width + 20 * (3 - c) * y / image.height;
        const int waves = ((13 + c) * x * x + (15 - 2 * c) * y * y) / side % 112;
        image.rgb.push_back(static_cast<std::uint8_t>(slopes + waves));
      }
    }
  }
  return image;
}

}  // namespace deepvit
