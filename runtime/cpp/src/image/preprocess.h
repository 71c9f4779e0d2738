// Encoded image → crop → model input, the bytes that runtime/preprocess gives.
#pragma once

#include <cstdint>
#include <vector>

#include "artifact/manifest.h"
#include "image/decode.h"

namespace deepvit {

// Resizes the shorter side and cuts the centred square; writes (crop, crop, 3) uint8 RGB. Where the image is smaller
// than the crop, it is padded with black. Throws DEEPVIT_INVALID_IMAGE.
void resize_and_crop(const Image& image, const Preprocessing& preprocessing, std::uint8_t* crop);

// Likewise from a file's bytes. Where there is not enough memory for the image, that is its fault, and no other's.
void crop_encoded(Encoded encoded, const Preprocessing& preprocessing, int megapixels, std::uint8_t* crop);

inline std::size_t crop_bytes(const Preprocessing& p) {
  return static_cast<std::size_t>(p.crop) * static_cast<std::size_t>(p.crop) * 3;
}

inline std::size_t input_bytes(const Preprocessing& p) {
  return p.is_nhwc ? crop_bytes(p) : crop_bytes(p) / 3 * static_cast<std::size_t>(p.channels) * sizeof(float);
}

// Crops → (B, channels, crop, crop) float32, (pixel / 255 − mean) / std, every operation rounded to float32; or the
// crops as they are, where the graph normalises them.
void input_from_crops(const std::uint8_t* crops, std::size_t count, const Preprocessing& preprocessing, void* input);

}  // namespace deepvit
