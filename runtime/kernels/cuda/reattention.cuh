// Fused re-attention: O[g] = ((Σ_h Θ'[g, h]·softmax_h(scale·(c_0,h∘q_h + c_1,h)·k_hᵀ) + b'[g])·v_g)∘c_2,g for all heads
// of ROWS query rows a block. The maps of these rows stay in shared memory; nothing of size N × N is written.
//
// qkv (B, N, 3, H, d) as the qkv linear gives it, out (B, M, H·d) as the projection takes it, both in 16 bits; theta
// (H, H), bias (H) and channels c (3, H, d) in float32. N, `tokens`, is how many are stored, of which the first TOKENS
// count as keys; the first M, `queries`, are queries, those of padding too. scale_log2 > 0 is the scale of the scores
// times log2(e).
//
// Grid (⌈M / ROWS⌉, B), THREADS threads, SHARED_BYTES of dynamic shared memory; qkv and out aligned to 16 bytes.
#pragma once
#include "mix.cuh"
#include "values.cuh"

struct Arguments {
  const u16* qkv;
  u16* out;
  const float *theta, *bias, *channels;
  float scale_log2;
  int tokens, queries;
};

template <class S, bool ALL>
DEVICE void mix_and_add(Outputs<S>& o, const u16* image, const Arguments& of, int first) {
  synchronize();
  mix_heads<S, ALL>(of.theta, of.bias);
  synchronize();
  add_values<S, ALL>(o, image, first);  // of the warp's own map, which none but itself writes next
}

template <class S>
DEVICE void reattend(const Arguments& of) {
  const int row0 = block_x() * S::ROWS;
  const u16* image = of.qkv + i64(block_y()) * of.tokens * S::TOKEN;
  Queries<S> q;
  load_queries<S>(q, image, of.channels, row0, of.queries);
  clear_filling<S>();
  Outputs<S> o = {};
  if constexpr (S::PASSES == 1) {
    softmax_of_all<S>(q, image, of.scale_log2);
  } else {
    PerRow<S> shift;
    weigh_all<S>(shift, q, image, of.scale_log2);
    ROLLED for (int first = 0; first < S::LAST; first += S::KEYS) {
      exponentials_of_pass<S, true>(shift, q, image, first, of.scale_log2);
      mix_and_add<S, true>(o, image, of, first);
    }
    exponentials_of_pass<S, false>(shift, q, image, S::LAST, of.scale_log2);
  }
  mix_and_add<S, false>(o, image, of, S::LAST);
  store_outputs<S>(of.out + i64(block_y()) * of.queries * S::HEADS * S::WIDTH, o, of.channels, row0, of.queries);
}

#define REATTENTION(NAME, ...)                                                                                   \
  KERNEL(Shape<__VA_ARGS__>::THREADS)                                                                            \
  NAME(const u16* qkv, u16* out, const float* theta, const float* bias, const float* channels, float scale_log2, \
       int tokens, int queries) {                                                                                \
    reattend<Shape<__VA_ARGS__>>({qkv, out, theta, bias, channels, scale_log2, tokens, queries});                \
  }
