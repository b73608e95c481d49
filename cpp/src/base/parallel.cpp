#include "base/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "base/hooks.hpp"

namespace whimbrel {
namespace {

/// Nobody has more processors to gain from; a number beyond it is a mistake that must not exhaust the system.
constexpr std::size_t kMaxThreads = 1024;

/// One parallel_for. The caller's function and hooks may be gone when a helper comes late, who then looks
/// only at whether it is closed.
class Job {
 public:
  Job(std::size_t n, std::size_t n_workers, const std::function<void(std::size_t, std::size_t)>& fn)
      : n_(n), n_workers_(n_workers), fn_(&fn), hooks_(current_hooks()) {}

  /// The next item. False if there is none left.
  bool run_one(std::size_t worker) {
    if (stop_.load(std::memory_order_relaxed)) return false;
    const std::size_t item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= n_) return false;
    try {
      check_stop();
      (*fn_)(item, worker);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_ || item < error_item_) {
        error_ = std::current_exception();
        error_item_ = item;
      }
      stop();
    }
    done_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  /// What a helper does.
  void help() {
    std::size_t worker;
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || next_worker_ == n_workers_) return;
      worker = next_worker_++;
      ++running_;
    }
    {
      const UseHooks scope(hooks_);
      while (run_one(worker)) {
      }
    }
    // Told under the lock: the caller may be gone once it is released.
    const std::lock_guard lock(mutex_);
    --running_;
    left_.notify_all();
  }

  /// Let nobody in any more, and wait for the helpers inside.
  void close(const std::function<void()>& poll) {
    std::unique_lock lock(mutex_);
    closed_ = true;
    while (running_ > 0) {
      left_.wait_for(lock, ProgressMeter::kInterval);
      if (running_ == 0) break;
      lock.unlock();
      poll();
      lock.lock();
    }
  }

  void stop() { stop_.store(true, std::memory_order_relaxed); }
  std::size_t done() const { return done_.load(std::memory_order_relaxed); }
  /// Of the lowest item that failed, once all workers left. It goes to the caller: a task that runs late
  /// frees the job, and would free what the caller may still read, as far as a race detector can see.
  std::exception_ptr take_error() { return std::exchange(error_, nullptr); }

 private:
  const std::size_t n_, n_workers_;
  const std::function<void(std::size_t, std::size_t)>* const fn_;
  const Hooks* const hooks_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> stop_{false};

  std::mutex mutex_;
  std::condition_variable left_;
  std::size_t next_worker_ = 1;
  std::size_t running_ = 0;
  bool closed_ = false;
  std::size_t error_item_ = 0;
  std::exception_ptr error_;
};

/// What the calling thread does.
class Driver {
 public:
  Driver(Job& job, const std::function<void(std::size_t)>& poll) : job_(job), poll_(poll) {}

  /// `last_call`: before nobody is let in any more.
  void run(const std::function<void()>& last_call = {}) {
    while (job_.run_one(0)) poll();
    if (last_call) last_call();
    job_.close([this] { poll(); });
    if (poll_error_) std::rethrow_exception(poll_error_);
    if (std::exception_ptr error = job_.take_error()) std::rethrow_exception(std::move(error));
  }

 private:
  void poll() {
    if (!poll_ || poll_error_) return;
    try {
      poll_(job_.done());
    } catch (...) {
      poll_error_ = std::current_exception();
      job_.stop();
    }
  }

  Job& job_;
  const std::function<void(std::size_t)>& poll_;
  std::exception_ptr poll_error_;
};

/// Threads of the library's own, for callers who bring none.
class Pool {
 public:
  void submit(const std::shared_ptr<Job>& job, std::size_t helpers) {
    {
      const std::lock_guard lock(mutex_);
      for (; n_threads_ < helpers; ++n_threads_) std::thread([this] { work(); }).detach();
      queue_.insert(queue_.end(), helpers, job);
    }
    wake_.notify_all();
  }

  /// Drop the job's places that nobody took.
  void retire(const std::shared_ptr<Job>& job) {
    const std::lock_guard lock(mutex_);
    std::erase(queue_, job);
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      const std::shared_ptr<Job> job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job->help();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::size_t n_threads_ = 0;
};

/// The pool of this process. It is never destroyed: its threads wait on it until the process ends. A forked
/// child has the parent's object but none of its threads, so it leaves that object alone and makes its own.
Pool& shared_pool() {
  struct Owner {
    Pool pool;
    long process;
  };
#if defined(__unix__) || defined(__APPLE__)
  const long process = static_cast<long>(getpid());
#else
  const long process = 0;
#endif
  static std::atomic<Owner*> current{nullptr};
  Owner* owner = current.load(std::memory_order_acquire);
  while (owner == nullptr || owner->process != process) {
    auto* fresh = new Owner{{}, process};
    if (current.compare_exchange_strong(owner, fresh, std::memory_order_acq_rel)) return fresh->pool;
    delete fresh;
  }
  return owner->pool;
}

}  // namespace

std::size_t resolve_threads(std::size_t threads) {
  const Hooks* hooks = current_hooks();
  const std::size_t given = hooks != nullptr ? hooks->concurrency : 0;
  const std::size_t most = given > 0 ? std::min(given, kMaxThreads) : kMaxThreads;
  if (threads > 0) return std::min(threads, most);
  if (given > 0) return most;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::size_t>(CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(std::size_t n, std::size_t threads, const std::function<void(std::size_t, std::size_t)>& fn,
                  const std::function<void(std::size_t)>& poll) {
  const std::size_t n_workers = n == 0 ? 1 : std::min(resolve_threads(threads), n);
  if (n_workers == 1) {
    Job job(n, 1, fn);
    Driver(job, poll).run();
    return;
  }
  const auto job = std::make_shared<Job>(n, n_workers, fn);
  const Hooks* hooks = current_hooks();
  if (hooks != nullptr && hooks->submit) {
    try {
      for (std::size_t i = 1; i < n_workers; ++i) hooks->submit([job] { job->help(); });
    } catch (...) {
      // A loop needs no helpers.
    }
    Driver(*job, poll).run();
  } else {
    Pool& pool = shared_pool();
    pool.submit(job, n_workers - 1);
    Driver(*job, poll).run([&] { pool.retire(job); });
  }
}

}  // namespace whimbrel
