// The mix of the heads, in place: A'[g] = Σ_h Θ'[g, h]·softmax[h] + b'[g], a row and part of the keys at a time. One
// product has all heads as its summed index, filled up to 16; softmax's weights are taken into Θ' before it is rounded.
#pragma once
#include "softmax.cuh"

// A lane's share of Θ' as fragment A: rows g and g + 8, columns 2t, 2t + 1, 2t + 8 and 2t + 9; and its rows' b'.
template <class S>
struct Mix {
  float theta[2][4], bias[2];

  DEVICE Mix(const float* all, const float* biases) {
    const Lane lane;
    UNROLL for (int r = 0; r < 2; ++r) {
      const int to = lane.g + 8 * r;
      bias[r] = to < S::HEADS ? load_float(biases + to) : 0;
      UNROLL for (int c = 0; c < 4; ++c) {
        const int from = column(lane, c);
        theta[r][c] = to < S::HEADS && from < S::HEADS ? load_float(all + to * S::HEADS + from) : 0;
      }
    }
  }

  static DEVICE int column(const Lane& lane, int c) { return 2 * lane.t + c % 2 + 8 * (c / 2); }

  // Θ' with its columns weighed for a row and part.
  DEVICE void weighed(u32 (&a)[4], int row, int part) const {
    const Lane lane;
    float w[4];
    UNROLL for (int c = 0; c < 4; ++c) w[c] = load_float(weight_of<S>(row, part, column(lane, c)));
    UNROLL for (int i = 0; i < 4; ++i) {
      const int r = i % 2, c = i / 2 * 2;
      a[i] = S::Number::pack(theta[r][c] * w[c], theta[r][c + 1] * w[c + 1]);
    }
  }
};

template <class S>
DEVICE void mix_tile(const Mix<S>& mix, const u32 (&a)[4], u32 b0, u32 b1, int row, int first, int even) {
  const Lane lane;
  float x[4] = {mix.bias[0], mix.bias[0], mix.bias[1], mix.bias[1]};
  S::Number::multiply(x, a, b0, b1);
  UNROLL for (int r = 0; r < 2; ++r) {
    const int head = lane.g + 8 * r;
    const u32 both = S::Number::pack(x[2 * r], x[2 * r + 1]);
    if (head < S::HEADS) store_words<1>(S::maps() + S::place(head, row, first) + 8 * even + 2 * lane.t, &both);
  }
}

// Of a pass ALL of whose keys count, or of the last.
template <class S, bool ALL>
DEVICE void mix_heads(const float* theta, const float* bias) {
  const Lane lane;
  const Mix<S> mix(theta, bias);  // read again in every pass: kept, it would cost registers
  constexpr int parts = ALL ? S::PARTS : S::LAST_PARTS;
  ROLLED for (int unit = lane.head; unit < S::ROWS * parts; unit += S::HEADS) {
    const int row = unit / parts, part = unit % parts;
    u32 a[4];
    mix.weighed(a, row, part);
    const int first = part * S::TILES, head = lane.index % 16, second = lane.index / 16;
    const int place = S::place(head, row, first + second);
    const u16* zeros = S::zeros() + place % S::BANKS;  // in the banks that a map's row would be in
    const u16* from = head < S::HEADS ? S::maps() + place : zeros;
    UNROLL for (int j = 0; j < S::TILES; j += 2) {  // two tiles of 16 heads × 8 keys
      const bool is_one = j + 1 == S::TILES;
      u32 b[4];
      load_transposed_matrices(b, (is_one && second ? zeros : from) + 8 * j);
      mix_tile<S>(mix, a, b[0], b[1], row, first, j);
      if (!is_one) mix_tile<S>(mix, a, b[2], b[3], row, first + 1, j);
    }
  }
}
