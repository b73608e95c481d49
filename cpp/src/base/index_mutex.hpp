// The lock of an index: many readers or one writer.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <thread>

#include "base/hooks.hpp"

namespace whimbrel {

/// Shared by readers, exclusive for one writer. A writer's progress function runs inside its lock, so a call
/// from there would wait for itself; it is refused instead. Who can be stopped can be while he waits.
class IndexMutex {
 public:
  std::shared_lock<std::shared_mutex> read() {
    refuse_own_writer();
    std::shared_lock lock(mutex_, std::defer_lock);
    wait(lock);
    return lock;
  }

  class Writer {
   public:
    explicit Writer(IndexMutex& owner) : owner_(owner), lock_(owner.mutex_, std::defer_lock) {
      wait(lock_);
      owner_.writer_ = std::this_thread::get_id();
    }
    ~Writer() { owner_.writer_ = std::thread::id(); }

   private:
    IndexMutex& owner_;
    std::unique_lock<std::shared_mutex> lock_;
  };
  Writer write() {
    refuse_own_writer();
    return Writer(*this);
  }

  /// @throws std::logic_error for a call from a writer's progress function
  void refuse_own_writer() const {
    if (writer_ == std::this_thread::get_id())
      throw std::logic_error("index: expected no call from the progress function of its own add, got one");
  }

 private:
  template <class Lock>
  static void wait(Lock& lock) {
    if (!can_stop()) return lock.lock();
    while (!lock.try_lock()) {
      check_stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  std::shared_mutex mutex_;
  std::atomic<std::thread::id> writer_;
};

}  // namespace whimbrel
