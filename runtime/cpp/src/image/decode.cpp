#include "image/decode.h"

#include <cstring>

namespace deepvit {

bool is_jpeg(Encoded encoded) { return encoded.size >= 3 && std::memcmp(encoded.data, "\xff\xd8\xff", 3) == 0; }

bool is_png(Encoded encoded) { return encoded.size >= 8 && std::memcmp(encoded.data, "\x89PNG\r\n\x1a\n", 8) == 0; }

Image decode_rgb(Encoded encoded, const Limits& limits) {
  if (is_jpeg(encoded)) return decode_jpeg(encoded, limits);
  if (is_png(encoded)) return decode_png(encoded, limits);
  throw invalid_image("neither a JPEG nor a PNG");
}

}  // namespace deepvit
