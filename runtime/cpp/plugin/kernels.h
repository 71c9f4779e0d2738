// The kernels that this library carries, and which of them serves what. The table is written by embed_kernels.py from
// what `make kernels` made.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace reattention {

// Machine code for one kind of GPU; it also serves later ones of the same major version.
struct Cubin {
  int major;
  int minor;
  const void* data;
};

struct Kernel {
  const char* name;  // its symbol in a cubin
  bool is_bf16;      // else FP16
  int heads;
  int width;
  int tokens;  // keys that count, the first of those that are stored
  int rows;    // query rows a block; the tactic's number
  unsigned threads;
  unsigned shared_bytes;
  unsigned in_cubins;  // bit i: that it is in cubin i
};

extern const char* const kKernelsSha256;  // of kernels.json, which has the hash of every cubin
extern const std::vector<Cubin> kCubins;
extern const std::vector<Kernel> kKernels;

struct Shape {
  bool is_bf16;
  int heads;
  int width;
  int tokens;

  std::string text() const {
    return std::to_string(heads) + " heads of width " + std::to_string(width) + " over " + std::to_string(tokens) +
           " tokens in " + (is_bf16 ? "BF16" : "FP16");
  }
};

// The cubin for a GPU of this compute capability, or null.
inline const Cubin* cubin_for(int major, int minor) {
  const Cubin* best = nullptr;
  for (const Cubin& each : kCubins) {
    const bool fits = each.major == major && each.minor <= minor;
    if (fits && (best == nullptr || each.minor > best->minor)) best = &each;
  }
  return best;
}

// The kernels for a shape, in the order of their rows: those in `cubin`, or where it is null those in every cubin.
inline std::vector<const Kernel*> kernels_for(const Shape& shape, const Cubin* cubin) {
  const unsigned all = (1U << kCubins.size()) - 1;
  const unsigned wanted = cubin == nullptr ? all : 1U << (cubin - kCubins.data());
  std::vector<const Kernel*> found;
  for (const Kernel& each : kKernels) {
    const bool serves = each.is_bf16 == shape.is_bf16 && each.heads == shape.heads && each.width == shape.width &&
                        each.tokens == shape.tokens;
    if (serves && (each.in_cubins & wanted) == wanted) found.push_back(&each);
  }
  return found;
}

}  // namespace reattention
