// A block of threads on one core. Every GPU thread is a fiber, which leaves off at each instruction that its warp
// executes together; when all 32 have arrived at the same one, it is done for all. Warps run in random order, and a
// random number of instructions at a time.
#pragma once
#include <ucontext.h>
#include <csetjmp>
#include <functional>
#include <memory>
#include <random>

#include "memory.h"

namespace emulator {

using u16 = uint16_t;
using u32 = uint32_t;

struct Warp;
using Instruction = void (*)(Warp&);

struct Warp {
  // What the lanes hand in, and what they get.
  u32 in[32][6], out[32][4];
  float sums[32][4];
  const u16* address[32];
  int mask[32];
  Instruction instruction[32];        // that a lane has arrived at; none where it has ended
  std::vector<uintptr_t> stores[32];  // words of shared memory, since the last instruction
  bool is_waiting = false, has_ended = false;
};

struct Fiber {
  ucontext_t context;
  jmp_buf resume;
  bool has_begun = false, has_ended = false;
  std::unique_ptr<char[]> stack;
};

constexpr size_t kStackBytes = 1 << 16;

struct Block {
  int x = 0, y = 0, thread = 0;
  long barrier = 0;    // how many have been passed
  long conflicts = 0;  // accesses of a warp to shared memory that take more than one turn
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  std::function<void()> body;
  jmp_buf scheduler, launch;
  std::mt19937 random;

  Warp& warp() { return warps[thread / 32]; }
};

inline Block* block;

[[noreturn]] inline void end_launch() { longjmp(block->launch, 1); }

inline void wait(Instruction instruction) {
  block->warp().instruction[block->thread % 32] = instruction;
  if (!_setjmp(block->fibers[block->thread].resume)) _longjmp(block->scheduler, 1);
}

// A fiber serves one block after the other.
inline void fiber_main() {
  for (;;) {
    block->body();
    block->fibers[block->thread].has_ended = true;
    wait(nullptr);
  }
}

inline void resume(int thread) {
  Fiber& fiber = block->fibers[thread];
  block->thread = thread;
  if (_setjmp(block->scheduler)) return;
  if (fiber.has_begun) _longjmp(fiber.resume, 1);
  fiber.has_begun = true;
  fiber.stack.reset(new char[kStackBytes]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
  setcontext(&fiber.context);
}

inline void barrier(Warp& warp) { warp.is_waiting = true; }

// Shared memory has 32 banks of 4 bytes. The n-th stores of all lanes are one access: no bank has two of its words.
inline void count_conflicts(Warp& warp) {
  for (size_t n = 0;; ++n) {
    uintptr_t word_of[32] = {};
    bool is_access = false, is_conflict = false;
    for (const std::vector<uintptr_t>& stores : warp.stores) {
      if (n >= stores.size()) continue;
      uintptr_t& word = word_of[stores[n] / 4 % 32];
      is_conflict |= word != 0 && word != stores[n];
      is_access = true, word = stores[n];
    }
    if (!is_access) break;
    block->conflicts += is_conflict;
  }
  for (std::vector<uintptr_t>& stores : warp.stores) stores.clear();
}

// Every lane to its next instruction, in an order of its own; then the instruction.
inline void step(int index) {
  Warp& warp = block->warps[index];
  const int turn = int(block->random() % 32), sense = block->random() % 2 ? 1 : 31;
  for (int i = 0; i < 32; ++i) resume(32 * index + (turn + sense * i) % 32);
  for (int lane = 1; lane < 32; ++lane)
    if (warp.instruction[lane] != warp.instruction[0]) fail("lanes 0 and %d of warp %d are not together", lane, index);
  count_conflicts(warp);
  if (warp.instruction[0])
    warp.instruction[0](warp);
  else
    warp.has_ended = true;
}

inline void run_block(int x, int y) {
  block->x = x, block->y = y;
  ++block->barrier;
  std::memset(block->shared, 0xff, block->shared_bytes);  // NaN in every type
  uses.assign(block->shared_bytes / 2, Use());
  for (Warp& warp : block->warps) warp.is_waiting = warp.has_ended = false;
  for (;;) {
    std::vector<int> ready;
    int waiting = 0;
    for (int i = 0; i < int(block->warps.size()); ++i) {
      const Warp& warp = block->warps[i];
      if (!warp.has_ended && !warp.is_waiting) ready.push_back(i);
      waiting += warp.is_waiting;
    }
    if (ready.empty() && waiting == 0) return;
    if (ready.empty()) {
      if (waiting < int(block->warps.size())) fail("a barrier that %d warps of the block do not reach", waiting);
      ++block->barrier;
      for (Warp& warp : block->warps) warp.is_waiting = false;
      continue;
    }
    const int index = ready[block->random() % ready.size()];
    for (int left = 1 + block->random() % 64; left > 0; --left) {
      step(index);
      if (block->warps[index].is_waiting || block->warps[index].has_ended) break;
    }
  }
}

}  // namespace emulator
