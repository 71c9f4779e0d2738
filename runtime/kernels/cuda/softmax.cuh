// The maps before their mix. What is stored is 2^(scale·s − shift) with the largest score as `shift`, so that nothing
// overflows and the largest is 1; the weight of a row and part is what makes softmax of it, and is left to the mix.
#pragma once
#include "scores.cuh"

template <class S>
DEVICE float* weight_of(int row, int part, int head) {
  return S::weights() + (row * S::PARTS + part) * 16 + head;
}

// Heads that fill up to 16 weigh nothing.
template <class S>
DEVICE void clear_filling() {
  for (int i = thread(); i < S::ROWS * S::PARTS; i += S::THREADS) {
    for (int head = S::HEADS; head < 16; ++head) store_float(weight_of<S>(i / S::PARTS, i % S::PARTS, head), 0);
  }
  const u32 zeros[4] = {0, 0, 0, 0};
  for (int i = thread(); i < S::ZEROS / 8; i += S::THREADS) store_words<4>(S::zeros() + 8 * i, zeros);
}

// All keys in one pass: every score is computed once; every part has a shift of its own.
template <class S>
DEVICE void softmax_of_all(const Queries<S>& q, const u16* image, float scale) {
  const Lane lane;
  float top[S::GROUPS][2][S::PARTS], sum[S::GROUPS][2][S::PARTS];
  UNROLL for (int part = 0; part < S::PARTS; ++part) {
    Scores<S> s;
    scores_of_part<S, false>(s, q, image, part * S::PART);
    UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
      const float shift = largest_of_row(largest<S>(s[m], r)) * scale;
      const int row = 16 * m + 8 * r + lane.g;
      top[m][r][part] = shift;
      sum[m][r][part] = sum_of_row(store_exponentials<S>(s[m], r, row, part * S::TILES, scale, shift));
    }
  }
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
    float most = top[m][r][0], total = 0;
    UNROLL for (int part = 1; part < S::PARTS; ++part) most = fmaxf(most, top[m][r][part]);
    UNROLL for (int part = 0; part < S::PARTS; ++part) total += exp2_of(top[m][r][part] - most) * sum[m][r][part];
    UNROLL for (int part = 0; part < S::PARTS; ++part) {
      const float weight = exp2_of(top[m][r][part] - most) / total;
      if (lane.t == 0) store_float(weight_of<S>(16 * m + 8 * r + lane.g, part, lane.head), weight);
    }
  }
}

// A part of the first of several passes: the largest score of every row so far, and a lane's sum.
template <class S, bool ALL>
DEVICE void weigh_part(PerRow<S>& shift, PerRow<S>& sum, const Queries<S>& q, const u16* image, int first,
                       float scale) {
  Scores<S> s;
  scores_of_part<S, ALL>(s, q, image, first);
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
    const float most = fmaxf(shift[m][r], largest_of_row(largest<S>(s[m], r)) * scale);
    float part = 0;
    UNROLL for (int i = 0; i < 2 * S::TILES; ++i) part += exp2_of(s[m][i / 2][2 * r + i % 2] * scale - most);
    sum[m][r] = sum[m][r] * exp2_of(shift[m][r] - most) + part;
    shift[m][r] = most;
  }
}

// The first of several passes: the shift of every row is its largest score of all keys, its weight the inverse sum.
template <class S>
DEVICE void weigh_all(PerRow<S>& shift, const Queries<S>& q, const u16* image, float scale) {
  const Lane lane;
  PerRow<S> sum;
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) shift[m][r] = -INFINITE, sum[m][r] = 0;
  constexpr int rest = S::TOKENS / S::PART * S::PART;
  ROLLED for (int first = 0; first < rest; first += S::PART) weigh_part<S, true>(shift, sum, q, image, first, scale);
  if constexpr (rest < S::TOKENS) weigh_part<S, false>(shift, sum, q, image, rest, scale);
  UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
    const float weight = 1 / sum_of_row(sum[m][r]);
    UNROLL for (int part = 0; part < S::PARTS; ++part) {
      if (lane.t == 0) store_float(weight_of<S>(16 * m + 8 * r + lane.g, part, lane.head), weight);
    }
  }
}

// A later pass: the maps of the keys from `first` on, with the shifts of all.
template <class S, bool ALL>
DEVICE void exponentials_of_pass(const PerRow<S>& shift, const Queries<S>& q, const u16* image, int first,
                                 float scale) {
  const Lane lane;
  UNROLL for (int part = 0; part < (ALL ? S::PARTS : S::LAST_PARTS); ++part) {
    Scores<S> s;
    scores_of_part<S, ALL>(s, q, image, first + part * S::PART);
    UNROLL for (int m = 0; m < S::GROUPS; ++m) UNROLL for (int r = 0; r < 2; ++r) {
      store_exponentials<S>(s[m], r, 16 * m + 8 * r + lane.g, part * S::TILES, scale, shift[m][r]);
    }
  }
}
