// PNG by libpng.
#include <png.h>

#include <cstring>
#include <string>

#include "image/decode.h"

namespace deepvit {
namespace {

constexpr png_alloc_size_t kLargestChunk = 64u << 20;  // of compressed metadata; what a bomb could expand to

[[noreturn]] void fail(png_structp png, png_const_charp message) {
  auto* kept = static_cast<std::string*>(png_get_error_ptr(png));
  kept->assign(message);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
  auto* rest = static_cast<Encoded*>(png_get_io_ptr(png));
  if (count > rest->size) png_error(png, "the file is truncated");
  std::memcpy(to, rest->data, count);
  rest->data += count;
  rest->size -= count;
}

// A reader between its creation and its end. libpng leaves a call that fails by longjmp, into the frame that called
// setjmp; nothing in those frames has a destructor.
class Reader {
 public:
  Reader(Encoded encoded, const Limits& limits) : limits_(limits), rest_(encoded) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message_, fail, ignore_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, &rest_, read_bytes);
    png_set_chunk_malloc_max(png_, kLargestChunk);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // require_decodable says it better
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  Image decode() {
    read_header();
    const png_uint_32 width = png_get_image_width(png_, info_);
    const png_uint_32 height = png_get_image_height(png_, info_);
    require_decodable(width, height, limits_);
    image_.width = static_cast<int>(width);
    image_.height = static_cast<int>(height);
    image_.rgb.resize(static_cast<std::size_t>(width) * height * 3);
    for (int y = 0; y < image_.height; ++y) rows_.push_back(image_.row(y));
    read_rows();
    return std::move(image_);
  }

 private:
  void read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) refuse();
    png_read_info(png_, info_);
  }

  void read_rows() {
    if (setjmp(png_jmpbuf(png_)) != 0) refuse();
    png_set_strip_16(png_);
    png_set_packing(png_);
    png_set_expand(png_);  // palettes and fewer than eight bits; transparency becomes alpha, which goes
    png_set_strip_alpha(png_);
    png_set_gray_to_rgb(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != static_cast<std::size_t>(image_.width) * 3) {
      png_error(png_, "its rows are not RGB");
    }
    png_read_image(png_, rows_.data());  // what follows the last row is of no concern here, as it is not to Pillow
  }

  [[noreturn]] void refuse() const { throw invalid_image("PNG cannot be decoded: " + message_); }

  Limits limits_;
  Encoded rest_;
  std::string message_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Image image_;
  std::vector<png_bytep> rows_;
};

}  // namespace

Image decode_png(Encoded encoded, const Limits& limits) { return Reader(encoded, limits).decode(); }

}  // namespace deepvit
