// What the kernel needs of the machine, a function an instruction: sm_80 and newer, compiled by NVRTC. Another compiler
// gets the same functions from its include path, as the tests have them on a CPU.
//
// Fragments, g = lane / 4 and t = lane % 4, a word two numbers: A (16 × 16) has rows g and g + 8, columns 2t, 2t + 1
// and 2t + 8, 2t + 9; B (16 × 8) has column g, rows 2t, 2t + 1 and 2t + 8, 2t + 9; C (16 × 8) has rows g and g + 8,
// columns 2t, 2t + 1. Source: PTX ISA, "Matrix fragments for mma.m16n8k16" and "mma.m16n8k8".
#pragma once
#ifndef __CUDACC__
#include "emulated_instructions.h"
#else

using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

#define DEVICE __device__ __forceinline__
#define KERNEL(...) extern "C" __global__ void __launch_bounds__((__VA_ARGS__), 1)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define INFINITE __int_as_float(0x7f800000)

extern __shared__ __align__(128) unsigned char dynamic_shared[];  // 128 bytes are all banks

DEVICE unsigned char* shared_memory() { return dynamic_shared; }
DEVICE int thread() { return int(threadIdx.x); }
DEVICE int block_x() { return int(blockIdx.x); }
DEVICE int block_y() { return int(blockIdx.y); }
DEVICE void synchronize() { __syncthreads(); }

DEVICE float load_float(const float* from) { return *from; }
DEVICE void store_float(float* to, float x) { *to = x; }

// Words of memory that is aligned to all of them together, as COUNT is 1, 2 or 4.
template <int COUNT>
DEVICE void load_words(u32* x, const u16* from) {
  if constexpr (COUNT == 4) {
    const uint4 all = *reinterpret_cast<const uint4*>(from);
    x[0] = all.x, x[1] = all.y, x[2] = all.z, x[3] = all.w;
  } else if constexpr (COUNT == 2) {
    const uint2 all = *reinterpret_cast<const uint2*>(from);
    x[0] = all.x, x[1] = all.y;
  } else {
    x[0] = *reinterpret_cast<const u32*>(from);
  }
}

template <int COUNT>
DEVICE void store_words(u16* to, const u32* x) {
  if constexpr (COUNT == 4) {
    *reinterpret_cast<uint4*>(to) = make_uint4(x[0], x[1], x[2], x[3]);
  } else if constexpr (COUNT == 2) {
    *reinterpret_cast<uint2*>(to) = make_uint2(x[0], x[1]);
  } else {
    *reinterpret_cast<u32*>(to) = x[0];
  }
}

DEVICE float exchanged(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

// 2^x, to two parts in 2^23; of -infinity 0.
DEVICE float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Four 8 × 8 matrices of 16-bit numbers in shared memory; lane 8·i + r says where row r of matrix i begins.
#define LOAD_MATRICES(NAME, TRANSPOSED)                                                           \
  DEVICE void NAME(u32(&x)[4], const u16* row) {                                                  \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" TRANSPOSED ".shared.b16 {%0, %1, %2, %3}, [%4];" \
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])                                 \
                 : "r"(u32(__cvta_generic_to_shared(row)))                                        \
                 : "memory");                                                                     \
  }
LOAD_MATRICES(load_matrices, "")
LOAD_MATRICES(load_transposed_matrices, ".trans")
#undef LOAD_MATRICES

// An 8 × 8 matrix whose row g is in the words of the lanes 4g … 4g + 3, transposed.
DEVICE u32 transposed(u32 x) {
  u32 y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// A type of 16 bits, its products summed in float32.
#define NUMBER(NAME, TYPE)                                                                          \
  struct NAME {                                                                                     \
    static DEVICE u32 pack(float low, float high) {                                                 \
      u32 x;                                                                                        \
      asm("cvt.rn." TYPE "x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));                     \
      return x;                                                                                     \
    }                                                                                               \
    static DEVICE void unpack(float& low, float& high, u32 x) {                                     \
      asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32." TYPE " %0, l; cvt.f32." TYPE " %1, h; }" \
          : "=f"(low), "=f"(high)                                                                   \
          : "r"(x));                                                                                \
    }                                                                                               \
    static DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {                 \
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                           \
                   ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"           \
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                 \
    }                                                                                               \
    static DEVICE void multiply(float (&c)[4], const u32 (&a)[2], u32 b) {                          \
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32." TYPE "." TYPE                            \
                   ".f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"                       \
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(b));                                                 \
    }                                                                                               \
  }
NUMBER(Fp16, "f16");
NUMBER(Bf16, "bf16");
#undef NUMBER
#endif
