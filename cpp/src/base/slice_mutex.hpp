// The lock of a state that many read while one thread changes it a slice at a time.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace whimbrel {

/// Readers see the state between two slices. They take turns with the writer: one that waits holds back the
/// readers that come after it, so neither side can keep the other out.
class SliceMutex {
 public:
  std::shared_lock<std::shared_mutex> read() {
    const std::lock_guard turn(turn_);
    return std::shared_lock(mutex_);
  }

  template <class Fn>
  void change(const Fn& fn) {
    const std::lock_guard turn(turn_);
    const std::lock_guard lock(mutex_);
    fn();
  }

 private:
  std::mutex turn_;
  std::shared_mutex mutex_;
};

}  // namespace whimbrel
