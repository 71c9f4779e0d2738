// JPEG and PNG → RGB, the pixels that Pillow's convert("RGB") gives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "image/image.h"

namespace deepvit {

struct Encoded {
  const std::uint8_t* data;
  std::size_t size;
};

// Tells the format from the first bytes. Throws DEEPVIT_INVALID_IMAGE, also where there is not enough memory.
Image decode_rgb(Encoded encoded, const Limits& limits);

bool is_jpeg(Encoded encoded);
bool is_png(Encoded encoded);

// Grey is repeated, CMYK is taken as Adobe writes it (inverted); EXIF orientation and colour profiles are ignored.
Image decode_jpeg(Encoded encoded, const Limits& limits);

// Of 16 bits the upper eight are kept; alpha is dropped, not composed.
Image decode_png(Encoded encoded, const Limits& limits);

}  // namespace deepvit
