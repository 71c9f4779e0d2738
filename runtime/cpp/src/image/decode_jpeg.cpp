// JPEG by libjpeg-turbo, with its defaults, which are Pillow's: exact integer IDCT, smooth chroma upsampling.
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>  // needs FILE and size_t declared before it

#include "image/decode.h"

namespace deepvit {
namespace {

constexpr int kMostScans = 500;  // a progressive file may ask for thousands of passes over all pixels

// libjpeg tells of errors by calling error_exit, which must not return; longjmp, because it is C.
struct Errors {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr decoder) {
  auto* errors = reinterpret_cast<Errors*>(decoder->err);
  errors->base.format_message(decoder, errors->message);
  std::longjmp(errors->escape, 1);
}

[[noreturn]] void fail_with(j_common_ptr decoder, const char* message) {
  auto* errors = reinterpret_cast<Errors*>(decoder->err);
  std::snprintf(errors->message, sizeof errors->message, "%s", message);
  std::longjmp(errors->escape, 1);
}

void ignore_message(j_common_ptr, int) {}  // warnings: Pillow decodes what it can, too
void ignore_output(j_common_ptr) {}

boolean out_of_data(j_decompress_ptr decoder) {
  fail_with(reinterpret_cast<j_common_ptr>(decoder), "the file is truncated");
}

void skip(j_decompress_ptr decoder, long count) {
  if (count <= 0) return;
  jpeg_source_mgr* source = decoder->src;
  if (static_cast<std::size_t>(count) > source->bytes_in_buffer) out_of_data(decoder);
  source->next_input_byte += count;
  source->bytes_in_buffer -= static_cast<std::size_t>(count);
}

void nothing(j_decompress_ptr) {}

void count_scans(j_common_ptr decoder) {
  if (reinterpret_cast<j_decompress_ptr>(decoder)->input_scan_number > kMostScans) {
    fail_with(decoder, "the file has more scans than any picture needs");
  }
}

jpeg_source_mgr source_of(Encoded encoded) {
  jpeg_source_mgr source{};
  source.next_input_byte = encoded.data;
  source.bytes_in_buffer = encoded.size;
  source.init_source = nothing;
  source.fill_input_buffer = out_of_data;
  source.skip_input_data = skip;
  source.resync_to_restart = jpeg_resync_to_restart;
  source.term_source = nothing;
  return source;
}

// a · b / 255, rounded, as Pillow multiplies channels.
int product_of(int a, int b) {
  const int scaled = a * b + 128;
  return ((scaled >> 8) + scaled) >> 8;
}

void rgb_from_grey(const std::uint8_t* from, std::uint8_t* to, int width) {
  for (int x = 0; x < width; ++x) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = from[x];
}

// Adobe's inverted CMYK: a stored value is 255 minus the ink.
void rgb_from_cmyk(const std::uint8_t* from, std::uint8_t* to, int width) {
  for (int x = 0; x < width; ++x) {
    const int light = from[4 * x + 3];  // 255 − black
    for (int c = 0; c < 3; ++c) {
      const int value = light - product_of(255 - from[4 * x + c], light);
      to[3 * x + c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
    }
  }
}

// A decoder between its creation and its end, whatever way that comes. Nothing in `decode` has a destructor: longjmp
// passes over it.
class Decoder {
 public:
  Decoder(Encoded encoded, const Limits& limits) : limits_(limits), source_(source_of(encoded)) {
    jpeg_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = fail;
    errors_.base.emit_message = ignore_message;
    errors_.base.output_message = ignore_output;
    progress_.progress_monitor = count_scans;
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&jpeg_); }

  Image decode() {
    read_header();
    if (jpeg_.num_components != 1 && jpeg_.num_components != 3 && jpeg_.num_components != 4) {
      throw invalid_image("JPEG of " + std::to_string(jpeg_.num_components) + " components, expected 1, 3 or 4");
    }
    require_decodable(jpeg_.image_width, jpeg_.image_height, limits_);
    image_.width = static_cast<int>(jpeg_.image_width);
    image_.height = static_cast<int>(jpeg_.image_height);
    image_.rgb.resize(static_cast<std::size_t>(image_.width) * static_cast<std::size_t>(image_.height) * 3);
    if (jpeg_.num_components != 3) line_.resize(static_cast<std::size_t>(image_.width) * 4);
    read_lines();
    return std::move(image_);
  }

 private:
  void read_header() {
    if (setjmp(errors_.escape) != 0) refuse();
    jpeg_create_decompress(&jpeg_);
    jpeg_.src = &source_;
    jpeg_.progress = &progress_;
    jpeg_read_header(&jpeg_, TRUE);
  }

  void read_lines() {
    if (setjmp(errors_.escape) != 0) refuse();
    const int components = jpeg_.num_components;
    jpeg_.out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(&jpeg_);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      std::uint8_t* to = image_.row(static_cast<int>(jpeg_.output_scanline));
      JSAMPROW line = components == 3 ? to : line_.data();
      jpeg_read_scanlines(&jpeg_, &line, 1);
      if (components == 1) rgb_from_grey(line, to, image_.width);
      if (components == 4) rgb_from_cmyk(line, to, image_.width);
    }
    jpeg_finish_decompress(&jpeg_);
  }

  [[noreturn]] void refuse() const { throw invalid_image(std::string("JPEG cannot be decoded: ") + errors_.message); }

  Limits limits_;
  jpeg_decompress_struct jpeg_{};
  jpeg_source_mgr source_;
  jpeg_progress_mgr progress_{};
  Errors errors_{};
  Image image_;
  std::vector<std::uint8_t> line_;
};

}  // namespace

Image decode_jpeg(Encoded encoded, const Limits& limits) { return Decoder(encoded, limits).decode(); }

}  // namespace deepvit
