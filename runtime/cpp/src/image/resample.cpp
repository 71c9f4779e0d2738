#include "image/resample.h"

#include <algorithm>
#include <cmath>

namespace deepvit {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;  // 8 bits of pixel, 2 bits of headroom for filters that overshoot
constexpr double kPi = 3.14159265358979323846;

struct Filter {
  double support;  // half its width, in pixels of the smaller image
  double (*weight)(double);
};

double bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

// Keys' cubic convolution with a = −1/2.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

Filter filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::bilinear:
      return {1.0, bilinear};
    case Interpolation::lanczos:
      return {3.0, lanczos};
    default:
      return {2.0, bicubic};
  }
}

// Which source pixels an output pixel is made of, and their weights in fixed point.
struct Taps {
  int first = 0;
  std::vector<std::int32_t> weights;
};

// Taps of output pixels `from` … `from + count − 1`, where `in` pixels become `out`.
std::vector<Taps> taps_of(int in, int out, int from, int count, Filter filter) {
  const double scale = static_cast<double>(in) / out;
  const double stretch = std::max(scale, 1.0);  // when shrinking, the filter covers all source pixels: antialiasing
  const double support = filter.support * stretch;
  const double step = 1.0 / stretch;
  std::vector<Taps> all(static_cast<std::size_t>(count));
  std::vector<double> weights;
  for (int i = 0; i < count; ++i) {
    const double center = (from + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    weights.clear();
    double sum = 0.0;
    for (int x = first; x < end; ++x) {
      weights.push_back(filter.weight((x - center + 0.5) * step));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(i)];
    taps.first = first;
    for (double weight : weights) {
      const double scaled = (sum != 0.0 ? weight / sum : weight) * (1 << kFractionBits);
      taps.weights.push_back(static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

std::uint8_t rounded(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

// One pass: every output value is the weighted sum of values `stride` bytes apart.
void weigh(const std::uint8_t* first, std::size_t stride, const Taps& taps, std::uint8_t* to) {
  std::int32_t sums[3] = {1 << (kFractionBits - 1), 1 << (kFractionBits - 1), 1 << (kFractionBits - 1)};
  for (std::int32_t weight : taps.weights) {
    for (int c = 0; c < 3; ++c) sums[c] += first[c] * weight;
    first += stride;
  }
  for (int c = 0; c < 3; ++c) to[c] = rounded(sums[c]);
}

Image make_image(int width, int height) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

// A part of an image, in its own pixels.
struct Part {
  int from, count;
};

// What one axis becomes: `in` pixels resized to `out`, of which `wanted` are computed.
struct Axis {
  Axis(int in, int out, Part wanted_part, Filter filter)
      : is_same(in == out), wanted(wanted_part), needed(wanted_part) {  // Pillow leaves out a pass that changes nothing
    if (is_same) return;
    taps = taps_of(in, out, wanted.from, wanted.count, filter);
    needed.from = taps.front().first;  // neither end of the taps ever goes back
    needed.count = taps.back().first + static_cast<int>(taps.back().weights.size()) - needed.from;
  }

  bool is_same;
  Part wanted;
  Part needed;  // the source pixels that `wanted` is made of
  std::vector<Taps> taps;
};

// Resizes `rows` of `image` along the horizontal axis; column 0 of `image` is column `offset` of the axis.
Image horizontal(const Image& image, const Axis& axis, int offset, Part rows) {
  Image result = make_image(axis.wanted.count, rows.count);
  for (int y = 0; y < rows.count; ++y) {
    const std::uint8_t* from = image.row(rows.from + y);
    std::uint8_t* to = result.row(y);
    if (axis.is_same) {
      std::copy_n(from + 3 * (axis.wanted.from - offset), 3 * axis.wanted.count, to);
      continue;
    }
    for (const Taps& taps : axis.taps) {
      weigh(from + 3 * (taps.first - offset), 3, taps, to);
      to += 3;
    }
  }
  return result;
}

// Likewise along the vertical axis, for `columns` of `image`; row 0 of `image` is row `offset` of the axis.
Image vertical(const Image& image, const Axis& axis, int offset, Part columns) {
  Image result = make_image(columns.count, axis.wanted.count);
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < axis.wanted.count; ++y) {
    std::uint8_t* to = result.row(y);
    if (axis.is_same) {
      std::copy_n(image.row(axis.wanted.from + y - offset) + 3 * columns.from, 3 * columns.count, to);
      continue;
    }
    const Taps& taps = axis.taps[static_cast<std::size_t>(y)];
    const std::uint8_t* from = image.row(taps.first - offset);
    for (int x = columns.from; x < columns.from + columns.count; ++x, to += 3) weigh(from + 3 * x, stride, taps, to);
  }
  return result;
}

// Both passes round to eight bits, so that their order is seen in the result. This is Pillow 13's, which
// runtime/preprocess/crop.py fixes: the height first where it is reduced by more than twice as many pixels as the
// width.
bool is_vertical_first(const Image& image, int width, int height) {
  return height < image.height && 2 * (image.width - width) < image.height - height;
}

Image resized_by_filter(const Image& image, int width, int height, Filter filter, const Window& window) {
  const Axis across(image.width, width, {window.left, window.width}, filter);
  const Axis down(image.height, height, {window.top, window.height}, filter);
  if (is_vertical_first(image, width, height)) {
    return horizontal(vertical(image, down, 0, across.needed), across, across.needed.from, {0, window.height});
  }
  return vertical(horizontal(image, across, 0, down.needed), down, down.needed.from, {0, window.width});
}

// Which source pixel each output pixel is; summed step by step, because Pillow does and the last bit can tell.
std::vector<int> nearest_of(int in, int out) {
  const double step = static_cast<double>(in) / out;
  std::vector<int> found;
  double position = step * 0.5;
  for (int i = 0; i < out; ++i) {
    found.push_back(std::min(static_cast<int>(position), in - 1));
    position += step;
  }
  return found;
}

Image resized_by_choice(const Image& image, int width, int height, const Window& window) {
  const auto columns = nearest_of(image.width, width);
  const auto rows = nearest_of(image.height, height);
  Image result = make_image(window.width, window.height);
  for (int y = 0; y < window.height; ++y) {
    const std::uint8_t* from = image.row(rows[static_cast<std::size_t>(window.top + y)]);
    for (int x = 0; x < window.width; ++x) {
      const int column = columns[static_cast<std::size_t>(window.left + x)];
      std::copy_n(from + 3 * column, 3, result.row(y) + 3 * x);
    }
  }
  return result;
}

}  // namespace

Image resized_window(const Image& image, int width, int height, Interpolation interpolation, const Window& window) {
  if (window.width <= 0 || window.height <= 0) return make_image(0, 0);
  if (interpolation == Interpolation::nearest) return resized_by_choice(image, width, height, window);
  return resized_by_filter(image, width, height, filter_of(interpolation), window);
}

}  // namespace deepvit
