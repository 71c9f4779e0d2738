// Resizing as Pillow defines it for 8-bit images: separable filters in 22-bit fixed point, rounded after each pass.
#pragma once

#include "artifact/manifest.h"
#include "image/image.h"

namespace deepvit {

struct Window {
  int left, top, width, height;  // of the resized image, in its pixels; may not reach beyond it
};

// The `window` of `image` resized to `width` × `height`: the bytes that resizing the whole and cutting gives, without
// computing the rest.
Image resized_window(const Image& image, int width, int height, Interpolation interpolation, const Window& window);

}  // namespace deepvit
