// A'·v of a warp's head. Of keys that do not count v is zero, whatever A' is there: b' alone, as a graph has it whose
// padded tokens' values are masked (export/graph/padding.py).
#pragma once
#include "scores.cuh"

template <class S>
using Outputs = float[S::GROUPS][S::WORDS][4];  // of rows 16·m + 8·r + g, word j's two numbers, at [m][j][2r + e]

// Adds the keys of a pass, ALL of which count or not.
template <class S, bool ALL>
DEVICE void add_values(Outputs<S>& o, const u16* image, int first) {
  const Lane lane;
  const u16* values = image + i64(first + lane.g) * S::TOKEN + (2 * S::HEADS + lane.head) * S::WIDTH;
  UNROLL for (int step = 0; step < S::KEYS / 16; ++step) {
    if (!ALL && first + 16 * step >= S::TOKENS) break;
    u32 v[2][S::WORDS];
    UNROLL for (int i = 0; i < 2; ++i) {
      const int key = 16 * step + 8 * i;
      load_row<S>(v[i], values + key * S::TOKEN, ALL || counts<S>(first + key, lane.g));
      UNROLL for (int j = 0; j < S::WORDS; ++j) v[i][j] = transposed(v[i][j]);
    }
    UNROLL for (int m = 0; m < S::GROUPS; ++m) {
      u32 a[4];
      load_matrices(a, S::maps() + S::place(lane.head, 16 * m + lane.index % 16, lane.index / 16) + 16 * step);
      UNROLL for (int j = 0; j < S::WORDS; ++j) S::Number::multiply(o[m][j], a, v[0][j], v[1][j]);
    }
  }
}

// Times c_2.
template <class S>
DEVICE void store_outputs(u16* out, const Outputs<S>& o, const float* channels, int row0, int queries) {
  const Lane lane;
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
    const int row = row0 + 16 * m + 8 * r + lane.g;
    u32 words[S::WORDS];
    UNROLL for (int j = 0; j < S::WORDS; ++j) {
      const float* factor = channel<S>(channels, 2, j);
      words[j] = S::Number::pack(o[m][j][2 * r] * load_float(factor), o[m][j][2 * r + 1] * load_float(factor + 1));
    }
    if (row < queries) store_row<S>(out + (i64(row) * S::HEADS + lane.head) * S::WIDTH, words);
  }
}
