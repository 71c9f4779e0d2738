// Opening and closing leaves nothing behind.
#include <doctest/doctest.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>

#include "support.h"

namespace {

#ifdef DEEPVIT_SANITIZED
constexpr int kCycles = 300;
constexpr bool kIsJudged = false;  // sanitizers have an allocator of their own: only their own reports count here
#else
constexpr int kCycles = 1'000;
constexpr bool kIsJudged = true;
#endif
constexpr int kWarmUp = kCycles * 3 / 10;
constexpr double kGrowthInUse = 60e3;    // once it takes 20 kB more; what leaks 60 bytes in each of 700 cycles is seen
constexpr double kGrowthResident = 2e6;  // the heap takes one more step of 0.8 MB, once; nothing in it is in use

// What malloc has handed out, in all threads.
double bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks) + static_cast<double>(info.hblkhd);
}

double resident_bytes() {
  malloc_trim(0);  // what the allocator keeps for later is no growth; without this it swings by 5%
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_SUITE_BEGIN("memory");

TEST_CASE("open, run, fail and close, a thousand times, leave nothing in memory") {
  const std::string encoded = support::image(support::expected()["small"][0]["image"]);
  double in_use = 0;
  double resident = 0;
  for (int i = 0; i < kCycles; ++i) {
    if (i == kWarmUp) {
      in_use = bytes_in_use();
      resident = resident_bytes();
    }
    const deepvit::Model model(support::artifact("small"), support::options());
    if (i % 10 == 0) {
      REQUIRE(model.classify({{encoded.data(), encoded.size()}})[0].status == DEEPVIT_OK);
      REQUIRE(model.classify({{encoded.data(), encoded.size() / 3}})[0].status == DEEPVIT_INVALID_IMAGE);
    }
  }
  const double more_in_use = bytes_in_use() - in_use;
  const double more_resident = resident_bytes() - resident;
  MESSAGE("in use: " << in_use << " bytes and " << more_in_use << " more; resident: " << resident << " and "
                     << more_resident << " more");
  CHECK(resident > 0);
  if (!kIsJudged) return;
  CHECK(in_use > 0);
  CHECK(more_in_use <= kGrowthInUse);
  CHECK(more_resident <= kGrowthResident);
}

TEST_SUITE_END();
