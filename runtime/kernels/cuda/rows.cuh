// A token's head, WIDTH numbers in memory, as words of fragments: in q·kᵀ the order of the summed index is free, and in
// A'·v that of the columns, so that a lane takes neighbouring numbers in as few loads as there can be.
#pragma once
#include "shape.cuh"

// Whether key `of_tile` of the 8 from `first` on counts; a constant where all of them do or none, and `first` is one.
template <class S>
DEVICE bool counts(int first, int of_tile) {
  return first + 8 <= S::TOKENS || (first < S::TOKENS && first + of_tile < S::TOKENS);
}

// Calls action(first word, number of words, first number) for each load of lane t.
template <class S, class Action>
DEVICE void for_each_run(int t, const Action& action) {
  constexpr int wide = S::WIDTH / 32 * 32, middle = S::WIDTH / 16 * 16;
  if constexpr (wide > 0) action.template run<0, 4>(8 * t);
  if constexpr (middle > wide) action.template run<wide / 8, 2>(wide + 4 * t);
  if constexpr (S::WIDTH > middle) action.template run<middle / 8, 1>(middle + 2 * t);
}

// Where `channels` (3, H, d) has what belongs to the first number of a lane's word, in the warp's head of one of the 3.
template <class S>
DEVICE const float* channel(const float* channels, int which, int word) {
  constexpr int wide = S::WIDTH / 32 * 32, middle = S::WIDTH / 16 * 16;
  const Lane lane;
  const int first = word < wide / 8     ? 8 * lane.t + 2 * word
                    : word < middle / 8 ? wide + 4 * lane.t + 2 * (word - wide / 8)
                                        : middle + 2 * lane.t;
  return channels + (which * S::HEADS + lane.head) * S::WIDTH + first;
}

struct LoadRun {
  u32* words;
  const u16* row;
  template <int FIRST, int COUNT>
  DEVICE void run(int number) const {
    load_words<COUNT>(words + FIRST, row + number);
  }
};

struct StoreRun {
  u16* row;
  const u32* words;
  template <int FIRST, int COUNT>
  DEVICE void run(int number) const {
    store_words<COUNT>(row + number, words + FIRST);
  }
};

// The words of a row, or zeros where there is none.
template <class S>
DEVICE void load_row(u32 (&words)[S::WORDS], const u16* row, bool is_there) {
  UNROLL for (int i = 0; i < S::WORDS; ++i) words[i] = 0;
  if (is_there) for_each_run<S>(Lane().t, LoadRun{words, row});
}

template <class S>
DEVICE void store_row(u16* row, const u32 (&words)[S::WORDS]) {
  for_each_run<S>(Lane().t, StoreRun{row, words});
}
