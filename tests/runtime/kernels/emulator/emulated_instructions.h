// The functions of runtime/kernels/cuda/instructions.cuh on a CPU, by PTX ISA's words on each instruction: fragments of
// mma.m16n8k16 and m16n8k8, rows and lanes of ldmatrix and movmatrix. Products are summed in float32 one by one; a GPU
// sums them in another order and may cut off where this rounds.
#pragma once
#include <array>
#include <cmath>

#include "block.h"

using emulator::u16;
using emulator::u32;
using i64 = long long;

#define DEVICE inline
#define KERNEL(...) extern "C" void
#define UNROLL
#define ROLLED
#define INFINITE INFINITY

namespace emulator {

inline float half_value(u16 bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return float(half);
}

inline u16 half_bits(float x) {
  const _Float16 half = _Float16(x);
  u16 bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

inline float brain_value(u16 bits) {
  const u32 wide = u32(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

// To the nearest, ties to even; what is no number stays none.
inline u16 brain_bits(float x) {
  u32 wide;
  std::memcpy(&wide, &x, 4);
  if (std::isnan(x)) return 0x7fff;
  return u16((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
}

using Values = std::array<float, 1 << 16>;

inline Values values_by(float (*value)(u16)) {
  Values values;
  for (u32 bits = 0; bits < values.size(); ++bits) values[bits] = value(u16(bits));
  return values;
}

inline const Values half_values = values_by(half_value), brain_values = values_by(brain_value);

// One mma of DEPTH = 16 or 8: C (16 × 8) += A (16 × DEPTH)·B (DEPTH × 8).
template <int DEPTH>
void multiply(Warp& warp, const Values& values) {
  constexpr int kA = DEPTH / 4, kB = DEPTH / 8;  // words of a lane
  float a[16][DEPTH], b[DEPTH][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < kA; ++i)
      for (int e = 0; e < 2; ++e) a[g + 8 * (i % 2)][2 * t + e + 8 * (i / 2)] = values[u16(warp.in[lane][i] >> 16 * e)];
    for (int i = 0; i < kB; ++i)
      for (int e = 0; e < 2; ++e) b[2 * t + e + 8 * i][g] = values[u16(warp.in[lane][kA + i] >> 16 * e)];
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float sum = warp.sums[lane][i];
      for (int k = 0; k < DEPTH; ++k) sum += a[row][k] * b[k][column];
      warp.sums[lane][i] = sum;
    }
}

inline void exchange(Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) warp.out[lane][0] = warp.in[lane ^ warp.mask[lane]][0];
}

inline u16 of_matrix(const Warp& warp, int row, int column) {
  return u16(warp.in[4 * row + column / 2][0] >> 16 * (column % 2));
}

inline void transpose(Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4, column = 2 * (lane % 4);
    warp.out[lane][0] = of_matrix(warp, column, row) | u32(of_matrix(warp, column + 1, row)) << 16;
  }
}

// The 8 rows of a matrix are one access, each row in 4 banks.
inline bool has_conflict(const u16* const* rows) {
  const u16* row_of[8] = {};
  for (int i = 0; i < 8; ++i) {
    const u16*& row = row_of[reinterpret_cast<uintptr_t>(rows[i]) / 16 % 8];
    if (row && row != rows[i]) return true;
    row = rows[i];
  }
  return false;
}

template <bool TRANSPOSED>
void load_matrices(Warp& warp) {
  for (int i = 0; i < 4; ++i) block->conflicts += has_conflict(warp.address + 8 * i);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      u32 word = 0;
      for (int e = 0; e < 2; ++e) {
        const int outer = lane / 4, inner = 2 * (lane % 4) + e;
        const int row = TRANSPOSED ? inner : outer, column = TRANSPOSED ? outer : inner;
        word |= u32(warp.address[8 * i + row][column]) << 16 * e;
      }
      warp.out[lane][i] = word;
    }
}

inline int lane() { return block->thread % 32; }

inline void check(const void* pointer, size_t bytes, bool is_write) {
  check(pointer, bytes, is_write, block->thread / 32, block->barrier);
}

inline bool is_shared(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  return shared_begin <= address && address < shared_end;
}

inline void note_store(const void* pointer) {
  if (is_shared(pointer)) block->warp().stores[lane()].push_back(reinterpret_cast<uintptr_t>(pointer));
}

inline void load_matrices(u32 (&x)[4], const u16* row, Instruction instruction) {
  check(row, 16, false);
  if (!is_shared(row)) fail("ldmatrix from outside of shared memory");
  block->warp().address[lane()] = row;
  wait(instruction);
  std::memcpy(x, block->warp().out[lane()], 16);
}

template <int A, int B>
void multiply(float (&c)[4], const u32 (&a)[A], const u32 (&b)[B], Instruction instruction) {
  std::memcpy(block->warp().in[lane()], a, sizeof a);
  std::memcpy(block->warp().in[lane()] + A, b, sizeof b);
  std::memcpy(block->warp().sums[lane()], c, 16);
  wait(instruction);
  std::memcpy(c, block->warp().sums[lane()], 16);
}

}  // namespace emulator

inline unsigned char* shared_memory() { return emulator::block->shared; }
inline int thread() { return emulator::block->thread; }
inline int block_x() { return emulator::block->x; }
inline int block_y() { return emulator::block->y; }
inline void synchronize() { emulator::wait(emulator::barrier); }

inline float load_float(const float* from) {
  emulator::check(from, 4, false);
  return *from;
}

inline void store_float(float* to, float x) {
  emulator::check(to, 4, true);
  *to = x;
}

template <int COUNT>
void load_words(u32* x, const u16* from) {
  emulator::check(from, 4 * COUNT, false);
  std::memcpy(x, from, 4 * COUNT);
}

template <int COUNT>
void store_words(u16* to, const u32* x) {
  emulator::check(to, 4 * COUNT, true);
  if (COUNT == 1) emulator::note_store(to);
  std::memcpy(to, x, 4 * COUNT);
}

inline float exchanged(float x, int mask) {
  emulator::Warp& warp = emulator::block->warp();
  std::memcpy(warp.in[emulator::lane()], &x, 4);
  warp.mask[emulator::lane()] = mask;
  emulator::wait(emulator::exchange);
  std::memcpy(&x, warp.out[emulator::lane()], 4);
  return x;
}

inline float exp2_of(float x) { return std::exp2(x); }

inline void load_matrices(u32 (&x)[4], const u16* row) {
  emulator::load_matrices(x, row, emulator::load_matrices<false>);
}

inline void load_transposed_matrices(u32 (&x)[4], const u16* row) {
  emulator::load_matrices(x, row, emulator::load_matrices<true>);
}

inline u32 transposed(u32 x) {
  emulator::block->warp().in[emulator::lane()][0] = x;
  emulator::wait(emulator::transpose);
  return emulator::block->warp().out[emulator::lane()][0];
}

template <const emulator::Values& VALUES, u16 (*BITS)(float)>
struct Number {
  static u32 pack(float low, float high) { return BITS(low) | u32(BITS(high)) << 16; }

  static void unpack(float& low, float& high, u32 x) {
    low = VALUES[u16(x)];
    high = VALUES[x >> 16];
  }

  static void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulator::multiply(c, a, {b0, b1}, [](emulator::Warp& warp) { emulator::multiply<16>(warp, VALUES); });
  }

  static void multiply(float (&c)[4], const u32 (&a)[2], u32 b) {
    emulator::multiply(c, a, {b}, [](emulator::Warp& warp) { emulator::multiply<8>(warp, VALUES); });
  }
};

using Fp16 = Number<emulator::half_values, emulator::half_bits>;
using Bf16 = Number<emulator::brain_values, emulator::brain_bits>;
