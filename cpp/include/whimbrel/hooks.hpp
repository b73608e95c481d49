// What an engine brings along: its threads, limits of time and memory, its log. All of it is optional.
//
//   whimbrel::MemoryLimit memory(std::size_t{4} << 30);
//   whimbrel::Hooks hooks;
//   hooks.submit = [&](std::function<void()> task) { pool.post(std::move(task)); };
//   hooks.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
//   hooks.memory = &memory;
//   const whimbrel::UseHooks scope(hooks);
//   index.search(...);
//
// They hold for every call that the thread makes while the UseHooks lives, and go along to the threads that
// work for such a call. So all functions of the library heed them, and none has an argument for them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string_view>

#include "whimbrel/export.h"

namespace whimbrel {

/// Where the library's large arrays are counted: those that grow with the data, of indexes and of calls under
/// way. Called by all threads that work for a call. Must outlive whatever was allocated while it was in use.
class MemoryAccount {
 public:
  virtual ~MemoryAccount() = default;
  /// Before so many bytes are allocated. False: not allowed; the call ends with MemoryLimitExceeded.
  virtual bool reserve(std::size_t bytes) noexcept = 0;
  /// After they were freed, which may be much later and in another thread.
  virtual void release(std::size_t bytes) noexcept = 0;
};

/// An account with a limit.
class MemoryLimit final : public MemoryAccount {
 public:
  explicit MemoryLimit(std::size_t bytes) : limit_(bytes) {}

  bool reserve(std::size_t bytes) noexcept override {
    std::size_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ || used > limit_ - bytes) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void release(std::size_t bytes) noexcept override { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
  std::size_t limit() const noexcept { return limit_; }

 private:
  std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

/// Functions are called with locks of the object held that the call is about, and must not call it.
struct Hooks {
  /// Runs a task on some other thread; without it, the library has threads of its own. The calling thread
  /// works too, and waits only for tasks that have begun: a task may run late, when it returns at once, or be
  /// thrown away, and a pool may call the library from its own threads. An exception is taken for a refusal.
  std::function<void(std::function<void()> task)> submit;
  /// Threads that one call may use, the calling one included. 0: as many as processors. Does not change a
  /// result.
  std::size_t concurrency = 0;

  /// Whether to stop. Asked before each piece of work, by all threads that work for the call, which then ends
  /// with Cancelled: the object that was being changed is as it was, unless the call says what it leaves.
  std::function<bool()> stop;
  /// The same, with DeadlineExceeded.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();

  MemoryAccount* memory = nullptr;

  /// Takes a line of text without an end of line: a build and how long it took, a slower way that had to be
  /// gone. What it throws is dropped.
  std::function<void(std::string_view line)> log;
};

/// Hooks of this thread, instead of those it had, for as long as this lives.
class WHIMBREL_API UseHooks {
 public:
  /// Borrowed, and looked at by several threads: they must not change meanwhile.
  explicit UseHooks(const Hooks& hooks) noexcept : UseHooks(&hooks) {}
  explicit UseHooks(Hooks&&) = delete;
  /// Null: none.
  explicit UseHooks(const Hooks* hooks) noexcept;
  ~UseHooks();
  UseHooks(const UseHooks&) = delete;
  UseHooks& operator=(const UseHooks&) = delete;

 private:
  const Hooks* before_;
};

}  // namespace whimbrel
