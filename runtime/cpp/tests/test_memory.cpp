// Opening and closing leaves nothing behind.
#include <doctest/doctest.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>

#include "support.h"

namespace {

#ifdef DEEPVIT_SANITIZED
constexpr int kCycles = 300;  // sanitizers keep freed memory to themselves: only their own reports count here
constexpr double kGrowth = 1e9;
#else
constexpr int kCycles = 4'000;
constexpr double kGrowth = 0.01;
#endif
// Within the first 2,500 cycles the heap takes one more step of 0.8 MB, once; nothing in it is in use.
constexpr int kWarmUp = kCycles * 13 / 20;

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

TEST_CASE("4,000 times open, run, fail and close: resident memory stays within 1%") {
  const std::string encoded = support::image(support::expected()["small"][0]["image"]);
  double before = 0;
  for (int i = 0; i < kCycles; ++i) {
    if (i == kWarmUp) before = resident_bytes();
    const deepvit::Model model(support::artifact("small"), support::options());
    if (i % 10 == 0) {
      REQUIRE(model.classify({{encoded.data(), encoded.size()}})[0].status == DEEPVIT_OK);
      REQUIRE(model.classify({{encoded.data(), encoded.size() / 3}})[0].status == DEEPVIT_INVALID_IMAGE);
    }
  }
  const double after = resident_bytes();
  MESSAGE("resident: " << before / 1e6 << " MB after " << kWarmUp << " cycles, " << after / 1e6 << " MB after "
                       << kCycles);
  CHECK(before > 0);
  CHECK(after <= before * (1 + kGrowth));
}

TEST_SUITE_END();
