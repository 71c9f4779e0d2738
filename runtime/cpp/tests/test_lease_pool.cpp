#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "backend/lease_pool.h"

namespace {

struct Counted {
  static inline std::atomic<int> alive{0};
  static inline std::atomic<int> made{0};
  std::atomic<int> users{0};
  Counted() {
    ++alive;
    ++made;
  }
  ~Counted() { --alive; }
};

}  // namespace

TEST_SUITE_BEGIN("lease_pool");

TEST_CASE("at most so many are made, each is used by one thread at a time, and all go with the pool") {
  Counted::made = 0;
  {
    deepvit::LeasePool<Counted> pool(3, [] { return std::make_unique<Counted>(); });
    std::atomic<int> shared{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          pool.with([&](Counted& lease) {
            if (++lease.users > 1) ++shared;
            std::this_thread::yield();
            --lease.users;
          });
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(shared == 0);
    CHECK(Counted::made <= 3);
    CHECK(Counted::made >= 1);
  }
  CHECK(Counted::alive == 0);
}

TEST_CASE("one whose use failed is not lent again, and its place is free") {
  deepvit::LeasePool<Counted> pool(1, [] { return std::make_unique<Counted>(); });
  const Counted* first = nullptr;
  Counted::made = 0;
  CHECK_THROWS_AS(pool.with([&](Counted& lease) {
    first = &lease;
    throw std::runtime_error("failed");
  }),
                  std::runtime_error);
  CHECK(Counted::alive == 0);
  pool.with([](Counted&) {});
  CHECK(Counted::made == 2);
  CHECK(first != nullptr);
}

TEST_CASE("making one may fail, and is tried again") {
  int tries = 0;
  deepvit::LeasePool<Counted> pool(1, [&] {
    if (++tries == 1) throw std::runtime_error("not now");
    return std::make_unique<Counted>();
  });
  CHECK_THROWS_AS(pool.with([](Counted&) {}), std::runtime_error);
  pool.with([](Counted&) {});
  CHECK(tries == 2);
}

TEST_CASE("what waits until none is lent is not called while one is") {
  deepvit::LeasePool<int> pool(2, [] { return std::make_unique<int>(0); });
  int called = 0;
  const auto call = [&] { ++called; };
  CHECK(pool.when_idle(call));
  pool.with([&](int&) {
    CHECK_FALSE(pool.when_idle(call));
    pool.with([&](int&) { CHECK_FALSE(pool.when_idle(call)); });
    CHECK_FALSE(pool.when_idle(call));  // one of two is back
  });
  CHECK(pool.when_idle(call));
  CHECK(called == 2);
}

TEST_SUITE_END();
