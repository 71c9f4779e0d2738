// Protobuf's wire format (protobuf.dev/programming-guides/encoding), as far as ONNX files use it.
#pragma once

#include <cstdint>
#include <string_view>

namespace deepvit {

// One field of a message: its number and, of a number its value, of bytes these.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;
  bool is_bytes = false;
  std::string_view bytes;
};

// Takes a number off the front of `rest`.
inline bool take_number(std::string_view& rest, std::uint64_t& number) {
  number = 0;
  for (int shift = 0; shift < 70 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    number |= static_cast<std::uint64_t>(byte & 127U) << shift;
    if (byte < 128) return true;
  }
  return false;
}

// Takes a field off the front of `rest`; false where it is damaged, or a group, of which ONNX has none.
inline bool take_field(std::string_view& rest, Field& field) {
  std::uint64_t key = 0;
  if (!take_number(rest, key) || key < 8 || key > UINT32_MAX) return false;
  field = {key >> 3, 0, (key & 7) == 2, {}};
  std::uint64_t length = 0;
  switch (key & 7) {
    case 0:
      return take_number(rest, field.value);
    case 1:
      length = 8;
      break;
    case 2:
      if (!take_number(rest, length)) return false;
      break;
    case 5:
      length = 4;
      break;
    default:
      return false;
  }
  if (length > rest.size()) return false;
  field.bytes = rest.substr(0, length);
  rest.remove_prefix(length);
  return true;
}

}  // namespace deepvit
