// Things that are expensive to make and used by one thread at a time: made when needed, lent, taken back.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace deepvit {

template <typename T>
class LeasePool {
 public:
  using Make = std::function<std::unique_ptr<T>()>;

  // At most `most` are made; who wants a further one waits.
  LeasePool(std::size_t most, Make make) : most_(most), make_(std::move(make)) {}

  // Calls use(T&) with an idle one. One whose use throws is destroyed instead of taken back.
  template <typename Use>
  void with(const Use& use) {
    std::unique_ptr<T> lent = take();
    try {
      if (!lent) lent = make_();
      use(*lent);
    } catch (...) {
      lent.reset();
      give_back(nullptr);
      throw;
    }
    give_back(std::move(lent));
  }

  // Calls use() while none is lent, nor can be; false where one is.
  template <typename Use>
  bool when_idle(const Use& use) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.size() != made_) return false;
    use();
    return true;
  }

 private:
  // An idle one, or null: leave to make one.
  std::unique_ptr<T> take() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !idle_.empty() || made_ < most_; });
    if (idle_.empty()) {
      ++made_;
      return nullptr;
    }
    std::unique_ptr<T> lent = std::move(idle_.back());
    idle_.pop_back();
    return lent;
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
    changed_.notify_one();
  }

  const std::size_t most_;
  const Make make_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<T>> idle_;
  std::size_t made_ = 0;
};

}  // namespace deepvit
