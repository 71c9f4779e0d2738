// Kernels as C functions, for code that includes reattention.cuh. Each returns how many blocks have run, or -1, and
// then `fault` says why.
#pragma once
#include "emulated_instructions.h"

struct Launch {
  const u16* qkv;
  u16* out;
  const float *theta, *bias, *channels;
  float scale_log2;
  int tokens, queries, batch;
  const int* tiles;  // of rows, that run in every image
  int tile_count;
  unsigned seed;
};

namespace emulator {

inline long conflicts;  // of the last launch

constexpr size_t kBanks = 128;    // bytes
constexpr size_t kGap = 1 << 20;  // around shared memory, so that what misses it does not meet other memory

inline void add_region(const char* name, const void* begin, size_t bytes, bool may_write) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(begin);
  regions.push_back({name, address, address + bytes, may_write});
}

// Blocks run one after the other.
template <class S>
int launch(const Launch& of,
           void (*kernel)(const u16*, u16*, const float*, const float*, const float*, float, int, int)) {
  regions.clear();
  add_region("qkv", of.qkv, size_t{2} * of.batch * of.tokens * S::TOKEN, false);
  add_region("out", of.out, size_t{2} * of.batch * of.queries * S::HEADS * S::WIDTH, true);
  add_region("theta", of.theta, 4 * S::HEADS * S::HEADS, false);
  add_region("bias", of.bias, 4 * S::HEADS, false);
  add_region("channels", of.channels, 4 * 3 * S::HEADS * S::WIDTH, false);
  fault.clear();
  Block running;
  block = &running;
  running.fibers.resize(S::THREADS);
  running.warps.resize(S::HEADS);
  running.random.seed(of.seed);
  running.body = [&] { kernel(of.qkv, of.out, of.theta, of.bias, of.channels, of.scale_log2, of.tokens, of.queries); };
  const std::unique_ptr<unsigned char[]> memory(new unsigned char[2 * kGap + S::SHARED_BYTES]);
  running.shared = memory.get() + kGap - reinterpret_cast<uintptr_t>(memory.get()) % kBanks;
  running.shared_bytes = S::SHARED_BYTES;
  shared_begin = reinterpret_cast<uintptr_t>(running.shared);
  shared_end = shared_begin + S::SHARED_BYTES;
  if (setjmp(running.launch)) return -1;
  for (int y = 0; y < of.batch; ++y)
    for (int i = 0; i < of.tile_count; ++i) run_block(of.tiles[i], y);
  conflicts = running.conflicts;
  return of.batch * of.tile_count;
}

}  // namespace emulator

extern "C" inline __attribute__((used)) const char* emulator_fault() { return emulator::fault.c_str(); }

extern "C" inline __attribute__((used)) long emulator_conflicts() { return emulator::conflicts; }

#define EMULATED(NAME, ...)                                                                                    \
  REATTENTION(NAME, __VA_ARGS__)                                                                               \
  extern "C" int NAME##_emulated(const Launch* of) { return emulator::launch<Shape<__VA_ARGS__>>(*of, NAME); } \
  extern "C" int NAME##_shared_bytes() { return Shape<__VA_ARGS__>::SHARED_BYTES; }
