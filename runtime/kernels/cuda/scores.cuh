// Scores q·kᵀ of a warp's head, a part of the keys at a time, and their exponentials.
#pragma once
#include "rows.cuh"

template <class S>
using Queries = u32[S::GROUPS][2][S::WORDS];  // of rows 16·m + 8·r + g

template <class S>
using Scores = float[S::GROUPS][S::TILES][4];  // of rows 16·m + 8·r + g and keys 8·j + 2t + e at [m][j][2r + e]

template <class S>
using PerRow = float[S::GROUPS][2];

// c_0∘q + c_1 of the block's rows, rounded once. What stands for queries beyond the last is not stored.
template <class S>
DEVICE void load_queries(Queries<S>& q, const u16* image, const float* channels, int row0, int queries) {
  const Lane lane;
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
    const int row = row0 + 16 * m + 8 * r + lane.g;
    load_row<S>(q[m][r], image + i64(row) * S::TOKEN + lane.head * S::WIDTH, row < queries);
    UNROLL for (int i = 0; i < S::WORDS; ++i) {
      float low, high;
      S::Number::unpack(low, high, q[m][r][i]);
      const float *factor = channel<S>(channels, 0, i), *added = channel<S>(channels, 1, i);
      q[m][r][i] = S::Number::pack(low * load_float(factor) + load_float(added),
                                   high * load_float(factor + 1) + load_float(added + 1));
    }
  }
}

template <class S>
DEVICE void multiply_rows(float (&c)[4], const u32 (&q)[2][S::WORDS], const u32 (&k)[S::WORDS]) {
  UNROLL for (int i = 0; i + 1 < S::WORDS; i += 2) {
    const u32 a[4] = {q[0][i], q[1][i], q[0][i + 1], q[1][i + 1]};
    S::Number::multiply(c, a, k[i], k[i + 1]);
  }
  if constexpr (S::WORDS % 2 != 0) {
    const u32 a[2] = {q[0][S::WORDS - 1], q[1][S::WORDS - 1]};
    S::Number::multiply(c, a, k[S::WORDS - 1]);
  }
}

// -infinity for keys that do not count.
template <class S>
DEVICE void mask_scores(Scores<S>& s, int first) {
  const Lane lane;
  UNROLL for (int j = 0; j < S::TILES; ++j) UNROLL for (int e = 0; e < 4; ++e) {
    if (counts<S>(first + 8 * j, 2 * lane.t + e % 2)) continue;
    UNROLL for (int m = 0; m < S::GROUPS; ++m) s[m][j][e] = -INFINITE;
  }
}

// Scores of the part that begins with key `first`, ALL of whose keys count or not.
template <class S, bool ALL>
DEVICE void scores_of_part(Scores<S>& s, const Queries<S>& q, const u16* image, int first) {
  const Lane lane;
  const u16* keys = image + i64(first + lane.g) * S::TOKEN + (S::HEADS + lane.head) * S::WIDTH;
  UNROLL for (int j = 0; j < S::TILES; ++j) {
    u32 k[S::WORDS];
    load_row<S>(k, keys + 8 * j * S::TOKEN, ALL || counts<S>(first + 8 * j, lane.g));
    UNROLL for (int m = 0; m < S::GROUPS; ++m) {
      UNROLL for (int e = 0; e < 4; ++e) s[m][j][e] = 0;
      if (ALL || first + 8 * j < S::TOKENS) multiply_rows<S>(s[m][j], q[m], k);
    }
  }
  if constexpr (!ALL) mask_scores<S>(s, first);
}

// Over a lane's own keys of row r of a group.
template <class S>
DEVICE float largest(const float (&s)[S::TILES][4], int r) {
  float most = -INFINITE;
  UNROLL for (int j = 0; j < S::TILES; ++j) most = fmaxf(most, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
  return most;
}

// The largest, and the sum, over the four lanes that have a row.
DEVICE float largest_of_row(float x) {
  x = fmaxf(x, exchanged(x, 1));
  return fmaxf(x, exchanged(x, 2));
}

DEVICE float sum_of_row(float x) {
  x += exchanged(x, 1);
  return x + exchanged(x, 2);
}

// 2^(scale·s − shift) of a lane's keys of row r, into the map at places from `first_place` on; returns their sum, of
// the numbers before they are rounded.
template <class S>
DEVICE float store_exponentials(const float (&s)[S::TILES][4], int r, int row, int first_place, float scale,
                                float shift) {
  const Lane lane;
  float sum = 0;
  UNROLL for (int j = 0; j < S::TILES; ++j) {
    const float low = exp2_of(s[j][2 * r] * scale - shift), high = exp2_of(s[j][2 * r + 1] * scale - shift);
    const u32 both = S::Number::pack(low, high);
    const int place = first_place + j;
    store_words<1>(S::maps() + S::place(lane.head, row, place % 2) + 8 * (place - place % 2) + 2 * lane.t, &both);
    sum += low + high;
  }
  return sum;
}
