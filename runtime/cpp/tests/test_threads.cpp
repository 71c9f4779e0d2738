// One model, many threads: every answer is the one that a single thread gets.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "support.h"

namespace {

constexpr int kThreads = 8;
constexpr int kRunsPerThread = 1000;

}  // namespace

TEST_SUITE_BEGIN("threads");

TEST_CASE("8 threads × 1,000 inferences on one model") {
  const deepvit::Model model(support::artifact("small"), support::options());
  const auto rows = support::expected()["small"];
  std::vector<std::vector<std::byte>> inputs;
  std::vector<std::vector<float>> expected;
  for (std::size_t i = 0; i < 16; ++i) {
    const std::string encoded = support::image(rows[i]["image"]);
    inputs.push_back(model.input_from_crops(model.crop(encoded.data(), encoded.size())));
    expected.push_back(model.run(inputs.back().data(), 1));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRunsPerThread; ++i) {
        const std::size_t which = static_cast<std::size_t>(t * 7 + i) % inputs.size();
        if (model.run(inputs[which].data(), 1) != expected[which]) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("threads that decode, fail, open and close at once keep their own messages") {
  const deepvit::Model model(support::artifact("small"), support::options());
  const std::string encoded = support::image(support::expected()["small"][0]["image"]);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const std::string folder = "/no/such/folder/" + std::to_string(t);
      for (int i = 0; i < 20; ++i) {
        if (model.crop(encoded.data(), encoded.size()).empty()) ++wrong;
        if (support::open_status(folder).message.find(folder) == std::string::npos) ++wrong;
        if (support::open_status(support::artifact("small")).status != DEEPVIT_OK) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_SUITE_END();
