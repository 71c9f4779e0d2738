// Memory as a kernel may use it: every access is within one region, aligned to its size, and not written where it may
// only be read. Shared memory begins as NaN; what no thread has written is not read, and between two barriers a word
// belongs to one warp as soon as one has written it.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace emulator {

inline std::string fault;  // the first one of a launch

[[noreturn]] void end_launch();

[[noreturn]] inline void fail(const char* format, ...) {
  char text[256];
  va_list values;
  va_start(values, format);
  std::vsnprintf(text, sizeof text, format, values);
  va_end(values);
  fault = text;
  end_launch();
}

struct Region {
  const char* name;
  uintptr_t begin, end;
  bool may_write;
};

inline std::vector<Region> regions;

// Who has used 2 bytes of shared memory, and since which barrier.
struct Use {
  int writer = -1, reader = -1;  // warps; `kMany` where several have read
  long written = -1, read = -1;
};
constexpr int kMany = -2;

inline std::vector<Use> uses;
inline uintptr_t shared_begin, shared_end;

inline void check_shared(uintptr_t address, size_t bytes, bool is_write, int warp, long barrier) {
  for (uintptr_t at = address; at < address + bytes; at += 2) {
    Use& use = uses[(at - shared_begin) / 2];
    const int place = int(at - shared_begin);
    if (!is_write && use.writer == -1)
      fail("shared memory read before it is written, at byte %d by warp %d", place, warp);
    if (use.written == barrier && use.writer != warp)
      fail("no barrier between warp %d, which wrote shared byte %d, and warp %d", use.writer, place, warp);
    if (is_write) {
      if (use.read == barrier && use.reader != warp)
        fail("no barrier between a warp that read shared byte %d and warp %d, which writes it", place, warp);
      use.writer = warp, use.written = barrier;
    } else {
      use.reader = use.read == barrier && use.reader != warp ? kMany : warp, use.read = barrier;
    }
  }
}

inline void check(const void* pointer, size_t bytes, bool is_write, int warp, long barrier) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (address % bytes != 0) fail("misaligned access of %zu bytes by warp %d", bytes, warp);
  if (shared_begin <= address && address + bytes <= shared_end)
    return check_shared(address, bytes, is_write, warp, barrier);
  for (const Region& region : regions) {
    if (region.begin <= address && address + bytes <= region.end) {
      if (is_write && !region.may_write) fail("%s is written, by warp %d", region.name, warp);
      return;
    }
  }
  fail("%s out of bounds, by warp %d", is_write ? "write" : "read", warp);
}

}  // namespace emulator
