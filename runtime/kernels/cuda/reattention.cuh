// Fused re-attention: O[g] = (Σ_h Θ'[g, h]·softmax_h(scale·q_h·k_hᵀ) + b'[g])·v_g for all heads of ROWS query rows a
// block. The maps of these rows stay in shared memory; nothing of size N × N is written.
//
// qkv (B, N, 3, H, d) as the qkv linear gives it, out (B, N, H·d) as the projection takes it, both in 16 bits; theta
// (H, H) and bias (H) in float32. N, `rows`, is how many tokens are stored, of which the first TOKENS count as keys;
// all are queries, as where a graph pads its tokens. scale_log2 > 0 is the scale of the scores times log2(e).
//
// Grid (⌈N / ROWS⌉, B), THREADS threads, SHARED_BYTES of dynamic shared memory; qkv and out aligned to 16 bytes.
#pragma once
#include "mix.cuh"
#include "values.cuh"

template <class S, bool ALL>
DEVICE void mix_and_add(Outputs<S>& o, const u16* image, const float* theta, const float* bias, int first) {
  synchronize();
  mix_heads<S, ALL>(theta, bias);
  synchronize();
  add_values<S, ALL>(o, image, first);  // of the warp's own map, which none but itself writes next
}

template <class S>
DEVICE void reattend(const u16* qkv, u16* out, const float* theta, const float* bias, float scale_log2, int rows) {
  const int row0 = block_x() * S::ROWS;
  const u16* image = qkv + i64(block_y()) * rows * S::TOKEN;
  Queries<S> q;
  load_queries<S>(q, image, row0, rows);
  clear_filling<S>();
  Outputs<S> o = {};
  if constexpr (S::PASSES == 1) {
    softmax_of_all<S>(q, image, scale_log2);
  } else {
    PerRow<S> shift;
    weigh_all<S>(shift, q, image, scale_log2);
    ROLLED for (int first = 0; first < S::LAST; first += S::KEYS) {
      exponentials_of_pass<S, true>(shift, q, image, first, scale_log2);
      mix_and_add<S, true>(o, image, theta, bias, first);
    }
    exponentials_of_pass<S, false>(shift, q, image, S::LAST, scale_log2);
  }
  mix_and_add<S, false>(o, image, theta, bias, S::LAST);
  store_outputs<S>(out + i64(block_y()) * rows * S::HEADS * S::WIDTH, o, row0, rows);
}

#define REATTENTION(NAME, ...)                                                                        \
  KERNEL(Shape<__VA_ARGS__>::THREADS)                                                                 \
  NAME(const u16* qkv, u16* out, const float* theta, const float* bias, float scale_log2, int rows) { \
    reattend<Shape<__VA_ARGS__>>(qkv, out, theta, bias, scale_log2, rows);                            \
  }
