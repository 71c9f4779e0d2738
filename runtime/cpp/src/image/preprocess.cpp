#include "image/preprocess.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <new>

#include "image/resample.h"

namespace deepvit {
namespace {

struct Size {
  int width, height;
};

// The shorter side becomes `shorter`, the other is truncated, as in torchvision's Resize; `require_decodable` bounds
// it.
Size resized_size(const Image& image, int shorter) {
  const auto longer = [&](int from_long, int from_short) {
    return static_cast<int>(static_cast<double>(static_cast<std::int64_t>(shorter) * from_long) / from_short);
  };
  if (image.width <= image.height) return {shorter, longer(image.height, image.width)};
  return {longer(image.width, image.height), shorter};
}

// Where the crop lies on one axis: the part of it that the image covers.
struct Span {
  int from;  // first pixel of the resized image
  int to;    // where it lands in the crop
  int length;
};

// Python's rounding: half to even.
int halved(int value) { return static_cast<int>(std::nearbyint(value / 2.0)); }

Span centred(int size, int crop) {
  const int pad = std::max((crop - size) / 2, 0);
  const int start = halved(std::max(crop, size) - crop) - pad;  // negative where black comes first
  const int from = std::max(start, 0);
  const int end = std::min(start + crop, size);
  return {from, from - start, std::max(end - from, 0)};
}

}  // namespace

void resize_and_crop(const Image& image, const Preprocessing& preprocessing, std::uint8_t* crop) {
  const Size size = resized_size(image, preprocessing.resize);
  const Span across = centred(size.width, preprocessing.crop);
  const Span down = centred(size.height, preprocessing.crop);
  const Window window{across.from, down.from, across.length, down.length};
  const Image part = resized_window(image, size.width, size.height, preprocessing.interpolation, window);
  const std::size_t row_bytes = static_cast<std::size_t>(preprocessing.crop) * 3;
  std::memset(crop, 0, crop_bytes(preprocessing));
  for (int y = 0; y < part.height; ++y) {
    std::uint8_t* to = crop + static_cast<std::size_t>(down.to + y) * row_bytes + 3 * across.to;
    std::memcpy(to, part.row(y), static_cast<std::size_t>(part.width) * 3);
  }
}

void crop_encoded(Encoded encoded, const Preprocessing& preprocessing, int megapixels, std::uint8_t* crop) {
  Limits limits;
  limits.megapixels = static_cast<std::uint64_t>(megapixels);
  limits.resize = static_cast<std::uint64_t>(preprocessing.resize);
  try {
    resize_and_crop(decode_rgb(encoded, limits), preprocessing, crop);
  } catch (const std::bad_alloc&) {
    throw invalid_image("image cannot be decoded: not enough memory");
  }
}

void input_from_crops(const std::uint8_t* crops, std::size_t count, const Preprocessing& preprocessing, void* input) {
  if (preprocessing.is_nhwc) {
    std::memcpy(input, crops, count * crop_bytes(preprocessing));
    return;
  }
  const std::size_t pixels = crop_bytes(preprocessing) / 3;
  std::array<std::array<float, 256>, 3> values;  // of every pixel value, by channel
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t value = 0; value < 256; ++value) {
      values[c][value] = (static_cast<float>(value) / 255.0f - preprocessing.mean[c]) / preprocessing.std[c];
    }
  }
  auto* to = static_cast<float*>(input);
  for (std::size_t i = 0; i < count; ++i, crops += pixels * 3) {
    for (std::size_t channel = 0; channel < static_cast<std::size_t>(preprocessing.channels); ++channel) {
      const std::size_t c = channel % 3;
      for (std::size_t pixel = 0; pixel < pixels; ++pixel) *to++ = values[c][crops[pixel * 3 + c]];
    }
  }
}

}  // namespace deepvit
