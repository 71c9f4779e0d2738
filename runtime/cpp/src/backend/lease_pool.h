// Things that are expensive to make and used for one run at a time: made when needed, lent, taken back. A run is begun
// by one call and waited for by another; nobody can keep what is lent by forgetting a run.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace deepvit {

template <typename T>
class LeasePool {
 public:
  using Make = std::function<std::unique_ptr<T>()>;
  using Use = std::function<void(T&)>;

  // One run under way. Whoever comes first lands it: who began it, who needs what it was lent, or the pool as it goes.
  // It may outlive the pool.
  class Flight {
   public:
    Flight(LeasePool& pool, std::unique_ptr<T> lent, Use collect, std::function<void()> after)
        : pool_(pool), lent_(std::move(lent)), collect_(std::move(collect)), after_(std::move(after)) {}

    // Waits until the run has ended, and gives back what it was lent; what failed is destroyed instead.
    void land() {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!lent_) return;
      std::unique_ptr<T> lent = std::move(lent_);
      try {
        collect_(*lent);
      } catch (...) {
        error_ = std::current_exception();
        lent.reset();
      }
      pool_.landed(this, std::move(lent));
      if (error_) return;
      try {
        after_();
      } catch (...) {
        error_ = std::current_exception();
      }
    }

    // Lands it, and throws what it failed with.
    void require() {
      land();
      if (error_) std::rethrow_exception(error_);
    }

   private:
    friend class LeasePool;

    std::mutex mutex_;
    LeasePool& pool_;
    std::unique_ptr<T> lent_;  // null: it has landed
    const Use collect_;
    const std::function<void()> after_;
    std::exception_ptr error_;
  };

  // At most `most` are made; who wants a further one waits for the oldest run.
  LeasePool(std::size_t most, Make make) : most_(most), make_(std::move(make)) {}
  LeasePool(const LeasePool&) = delete;
  LeasePool& operator=(const LeasePool&) = delete;
  ~LeasePool() { land_all(); }

  std::size_t most() const { return most_; }

  // Calls submit(T&) with an idle one, and once somebody waits collect(T&), and then after(), when that went well and
  // the one is back. What making one or `submit` throws, Flight::require does.
  std::shared_ptr<Flight> begin(const Use& submit, Use collect, std::function<void()> after = [] {}) {
    auto flight = std::make_shared<Flight>(*this, take(), std::move(collect), std::move(after));
    try {
      if (!flight->lent_) flight->lent_ = make_();
      submit(*flight->lent_);
    } catch (...) {
      flight->error_ = std::current_exception();
      flight->lent_.reset();
      give_back(nullptr);
      return flight;
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      flights_.push_back(flight);
    }
    changed_.notify_all();
    return flight;
  }

  // Waits for all runs that were begun.
  void land_all() {
    for (std::shared_ptr<Flight> oldest = oldest_flight(); oldest; oldest = oldest_flight()) oldest->land();
  }

  // Calls use() while none is lent, nor can be; false where one is.
  template <typename Call>
  bool when_idle(const Call& use) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.size() != made_) return false;
    use();
    return true;
  }

 private:
  // An idle one, or null: leave to make one.
  std::unique_ptr<T> take() {
    for (;;) {
      std::shared_ptr<Flight> oldest;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return !idle_.empty() || made_ < most_ || !flights_.empty(); });
        if (!idle_.empty()) {
          std::unique_ptr<T> lent = std::move(idle_.back());
          idle_.pop_back();
          return lent;
        }
        if (made_ < most_) {
          ++made_;
          return nullptr;
        }
        oldest = flights_.front();
      }
      oldest->land();  // what it gave is kept for whoever began it, which may be this very thread
    }
  }

  std::shared_ptr<Flight> oldest_flight() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return flights_.empty() ? nullptr : flights_.front();
  }

  void landed(const Flight* flight, std::unique_ptr<T> lent) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      flights_.remove_if([&](const std::shared_ptr<Flight>& each) { return each.get() == flight; });
    }
    give_back(std::move(lent));
  }

  void give_back(std::unique_ptr<T> lent) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (lent) {
        idle_.push_back(std::move(lent));
      } else {
        --made_;
      }
    }
    changed_.notify_all();
  }

  const std::size_t most_;
  const Make make_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<T>> idle_;
  std::list<std::shared_ptr<Flight>> flights_;  // the oldest first
  std::size_t made_ = 0;
};

}  // namespace deepvit
