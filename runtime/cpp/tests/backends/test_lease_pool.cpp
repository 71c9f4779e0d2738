#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
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

// A run that is waited for at once.
template <typename T>
void run(deepvit::LeasePool<T>& pool, const std::function<void(T&)>& use) {
  pool.begin(use, [](T&) {})->require();
}

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
          run<Counted>(pool, [&](Counted& lease) {
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
  CHECK_THROWS_AS(run<Counted>(pool,
                               [&](Counted& lease) {
                                 first = &lease;
                                 throw std::runtime_error("failed");
                               }),
                  std::runtime_error);
  CHECK(Counted::alive == 0);
  run<Counted>(pool, [](Counted&) {});
  CHECK(Counted::made == 2);
  CHECK(first != nullptr);
}

TEST_CASE("making one may fail, and is tried again") {
  int tries = 0;
  deepvit::LeasePool<Counted> pool(1, [&] {
    if (++tries == 1) throw std::runtime_error("not now");
    return std::make_unique<Counted>();
  });
  CHECK_THROWS_AS(run<Counted>(pool, [](Counted&) {}), std::runtime_error);
  run<Counted>(pool, [](Counted&) {});
  CHECK(tries == 2);
}

TEST_CASE("what waits until none is lent is not called while one is") {
  deepvit::LeasePool<int> pool(2, [] { return std::make_unique<int>(0); });
  int called = 0;
  const auto call = [&] { ++called; };
  CHECK(pool.when_idle(call));
  run<int>(pool, [&](int&) {
    CHECK_FALSE(pool.when_idle(call));
    run<int>(pool, [&](int&) { CHECK_FALSE(pool.when_idle(call)); });
    CHECK_FALSE(pool.when_idle(call));  // one of two is back
  });
  CHECK(pool.when_idle(call));
  CHECK(called == 2);
}

TEST_CASE("runs that nobody waits for keep nothing from others, and what they gave is there") {
  std::vector<std::shared_ptr<deepvit::LeasePool<int>::Flight>> flights;
  std::vector<int> given;
  int after = 0;
  {
    deepvit::LeasePool<int> pool(2, [] { return std::make_unique<int>(0); });
    for (int i = 0; i < 5; ++i) {
      flights.push_back(
          pool.begin([&](int& lease) { lease = i; }, [&](int& lease) { given.push_back(lease); }, [&] { ++after; }));
    }
    CHECK(given == std::vector<int>{0, 1, 2});  // two were lent twice meanwhile
    run<int>(pool, [](int&) {});
    CHECK(given == std::vector<int>{0, 1, 2, 3});
    flights[4]->require();
    CHECK_FALSE(flights.empty());
    pool.begin([](int&) {}, [&](int&) { given.push_back(9); });  // and is forgotten
  }
  CHECK(given == std::vector<int>{0, 1, 2, 3, 4, 9});
  CHECK(after == 5);
  for (const auto& flight : flights) flight->require();  // after the pool
}

TEST_CASE("what fails is thrown to whoever waits for that run, each time, and to nobody else") {
  deepvit::LeasePool<int> pool(2, [] { return std::make_unique<int>(0); });
  const auto fail = [](int&) { throw std::runtime_error("failed"); };
  const auto nothing = [](int&) {};
  const auto early = pool.begin(fail, nothing), late = pool.begin(nothing, fail), sound = pool.begin(nothing, nothing);
  for (int i = 0; i < 3; ++i) pool.begin(nothing, nothing);  // lands all before them
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_AS(early->require(), std::runtime_error);
    CHECK_THROWS_AS(late->require(), std::runtime_error);
    CHECK_NOTHROW(sound->require());
  }
  pool.land_all();
  CHECK(pool.when_idle([] {}));
}

TEST_CASE("threads wait for each other's runs") {
  {
    deepvit::LeasePool<Counted> pool(2, [] { return std::make_unique<Counted>(); });
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const auto seen = std::make_shared<int>(0);
          const auto flight = pool.begin([&](Counted& lease) { wrong += ++lease.users > 1 ? 1 : 0; },
                                         [seen](Counted& lease) { *seen = 1 + --lease.users; });
          if (i % 3 == 0) continue;  // and is forgotten
          flight->require();
          wrong += *seen == 1 ? 0 : 1;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
  CHECK(Counted::alive == 0);
}

TEST_SUITE_END();
