// A driver that launches nothing and remembers everything, as libcuda.so.1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Launch {
  std::string kernel;
  std::string cubin;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  unsigned most_shared_bytes;  // that the function was given
  const void* stream;
  const void* addresses[5];  // qkv, out, theta, bias, channels
  float scale_log2;
  int stored;
  int queries;
};

#define FAKE __attribute__((visibility("default")))

FAKE extern int fake_capability[2];
FAKE extern thread_local unsigned long long fake_context;  // 0: the thread has none
FAKE extern std::vector<Launch> fake_launches;
FAKE extern int fake_modules;               // how many were loaded
FAKE void fake_fail(const char* function);  // from now on; empty: none
