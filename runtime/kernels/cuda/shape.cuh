// What is fixed when a kernel is compiled, and how its shared memory is laid out; runtime/kernels/table.py computes the
// same numbers for whoever launches it.
#pragma once
#include "instructions.cuh"

// NUMBER Fp16 or Bf16; HEADS ≤ 16 heads of WIDTH numbers, a multiple of 8; TOKENS keys that count; KEYS of them in a
// pass, a multiple of 16; ROWS query rows a block, 16 or 32.
template <class NUMBER_, int HEADS_, int WIDTH_, int TOKENS_, int KEYS_, int ROWS_>
struct Shape {
  using Number = NUMBER_;
  static constexpr int HEADS = HEADS_, WIDTH = WIDTH_, TOKENS = TOKENS_, KEYS = KEYS_, ROWS = ROWS_;
  static_assert(0 < HEADS && HEADS <= 16 && WIDTH % 8 == 0 && WIDTH < 64 && KEYS % 16 == 0 && KEYS <= 208);
  static_assert(ROWS == 16 || ROWS == 32);

  static constexpr int THREADS = 32 * HEADS;       // a warp a head
  static constexpr int TOKEN = 3 * HEADS * WIDTH;  // numbers of a token of qkv
  static constexpr int GROUPS = ROWS / 16;         // of rows, a product's each
  static constexpr int WORDS = WIDTH / 8;          // of a token's head in a lane
  static constexpr int PASSES = (TOKENS + KEYS - 1) / KEYS;
  static constexpr int PARTS = KEYS > 104 ? 2 : 1;  // of a pass, so that their scores fit into registers
  static constexpr int TILES = KEYS / 8 / PARTS;    // of 8 keys in a part
  static constexpr int PART = 8 * TILES;
  static constexpr int LAST = (PASSES - 1) * KEYS;                      // first key of the last pass
  static constexpr int LAST_PARTS = (TOKENS - LAST + PART - 1) / PART;  // of it that have a key which counts
  // In one pass every part has its own largest score, and hence a key that counts.
  static_assert(PASSES > 1 || LAST_PARTS == PARTS);

  // Shared memory: maps (HEADS, ROWS, KEYS) in 16 bits; weights (ROWS, PARTS, 16) in float32; zeros, which heads that
  // fill up to 16 read instead of a map. Rows that a product takes together must be in different banks, 16 bytes each
  // of 128: heads are 16 bytes further apart for that, rows too if their length is not an odd multiple of 32 bytes; if
  // it is, rows 4 to 7 of every 8 have neighbouring places exchanged instead, a place being the 16 bytes of 8 keys.
  static constexpr bool EXCHANGED = KEYS % 32 == 16;
  static constexpr int ROW = EXCHANGED ? KEYS : KEYS + 8;
  static constexpr int HEAD = ROWS * ROW + 8;
  static constexpr int BANKS = 64;  // numbers in all of them
  static constexpr int MAPS_BYTES = 2 * HEADS * HEAD;
  static constexpr int WEIGHTS_BYTES = 4 * ROWS * PARTS * 16;
  static constexpr int ZEROS_AT = (MAPS_BYTES + WEIGHTS_BYTES + 2 * BANKS - 1) / (2 * BANKS) * (2 * BANKS);
  static constexpr int ZEROS = PART + BANKS;
  static constexpr int SHARED_BYTES = ZEROS_AT + 2 * ZEROS;

  static DEVICE u16* maps() { return reinterpret_cast<u16*>(shared_memory()); }
  static DEVICE float* weights() { return reinterpret_cast<float*>(shared_memory() + MAPS_BYTES); }
  static DEVICE u16* zeros() { return reinterpret_cast<u16*>(shared_memory() + ZEROS_AT); }

  // Where place `first` of a row of a head's map is, in numbers from the first map. Of place `first` + `even`, an even
  // number, it is 8·`even` more: constants to the compiler, which addresses of their own would not be.
  static DEVICE int place(int head, int row, int first) {
    const int exchange = EXCHANGED ? row / 4 % 2 : 0;
    return head * HEAD + row * ROW + 8 * (first ^ exchange);
  }
};

// Where a thread is: warp `head` computes that head's scores, and lane 4·g + t has row g's share t.
struct Lane {
  int head = thread() / 32, index = thread() % 32, g = index / 4, t = index % 4;
};
