// The lock of a state that many read while one thread changes it a slice at a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <shared_mutex>

namespace whimbrel {

/// Readers see the state between two slices. They take turns with the writer: one that waits holds back the
/// readers that come after it, and whom a slice held back come before the next one. So neither side can keep
/// the other out, and a reader waits for one slice, and for those who read when the writer wanted to go on.
class SliceMutex {
 public:
  std::shared_lock<std::shared_mutex> read() {
    std::unique_lock turn(turn_, std::try_to_lock);
    const bool waited = !turn.owns_lock();
    if (waited) {
      ++came_;
      turn.lock();
    }
    std::shared_lock lock(mutex_);
    turn.unlock();
    if (waited) {
      ++went_;
      went_.notify_all();
    }
    return lock;
  }

  template <class Fn>
  void change(const Fn& fn) {
    // A mutex knows no order: without this, the next slice would mostly be first again.
    const std::size_t all = came_;
    for (std::size_t n = went_; n < all; n = went_) went_.wait(n);
    const std::lock_guard turn(turn_);
    ++wanted_;
    const std::lock_guard lock(mutex_);
    --wanted_;
    fn();
  }

  /// fn(i) for each i in [0, n), in order, `at_a_time` of them in a slice.
  template <class Fn>
  void change_each(std::size_t n, std::size_t at_a_time, const Fn& fn) {
    for (std::size_t begin = 0; begin < n; begin += at_a_time)
      change([&] {
        for (std::size_t i = begin; i < std::min(n, begin + at_a_time); ++i) fn(i);
      });
  }

  /// A writer waits for the readers that are there: those with much to do should let it.
  bool wanted() const noexcept { return wanted_.load(std::memory_order_relaxed) > 0; }

 private:
  std::mutex turn_;
  std::shared_mutex mutex_;
  std::atomic<std::size_t> came_ = 0, went_ = 0;  // readers that had to wait for their turn
  std::atomic<int> wanted_ = 0;
};

/// Link lists that one slice writes, each some cache misses.
inline constexpr std::size_t kListsInSlice = 512;
/// The same of rows that appear or disappear, with a place in a table of ids.
inline constexpr std::size_t kRowsInSlice = 1024;

}  // namespace whimbrel
