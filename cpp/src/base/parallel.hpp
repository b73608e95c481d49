// Data-parallel loops on the threads of the caller's hooks or, without, on a lazily started, shared pool.
//
// No thread exists before the first parallel call. After fork() the child starts a pool of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

#include "whimbrel/progress.hpp"

namespace whimbrel {

/// Threads to use for a request: `threads`, at most 1024, or all processors this process may run on for 0;
/// not more than the hooks allow.
std::size_t resolve_threads(std::size_t threads);

/// Tells the caller about progress at most ten times a second. For the calling thread only.
class ProgressMeter {
 public:
  ProgressMeter(ProgressFn report, std::size_t total) : report_(std::move(report)), total_(total) {}

  void update(std::size_t done) {
    if (!report_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + kInterval;
    report_(done, total_);
  }
  /// The last report, not throttled.
  void finish() {
    if (report_) report_(total_, total_);
  }

  static constexpr std::chrono::milliseconds kInterval{100};

 private:
  ProgressFn report_;
  std::size_t total_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kInterval;
};

/// fn(item, worker) for every item in [0, n), claimed in increasing order by up to `threads` workers (0: all
/// processors); worker 0 is the calling thread, and no two running calls have the same worker number.
///
/// `poll(done)`, if given, runs in the calling thread between items and while it waits; if it throws, items
/// not yet begun are dropped. If fn throws, the exception of the lowest item is rethrown; so is what stops
/// the call (check_stop), which every item asks first. Both only after all workers left.
void parallel_for(std::size_t n, std::size_t threads, const std::function<void(std::size_t, std::size_t)>& fn,
                  const std::function<void(std::size_t)>& poll = {});

}  // namespace whimbrel
