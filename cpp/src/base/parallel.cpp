#include "base/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace whimbrel {
namespace {

/// Nobody has more processors to gain from; a number beyond it is a mistake that must not exhaust the system.
constexpr std::size_t kMaxThreads = 1024;

/// One parallel_for. Lives on the caller's stack; workers hold it only between join() and leave().
struct Job {
  std::size_t n = 0;
  const std::function<void(std::size_t, std::size_t)>* fn = nullptr;
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> done{0};
  std::atomic<bool> stop{false};

  std::mutex error_mutex;
  std::size_t error_item = 0;
  std::exception_ptr error;

  // Guarded by the pool's mutex.
  std::size_t next_worker = 1;
  std::size_t running = 0;

  bool run_one(std::size_t worker) {
    if (stop.load(std::memory_order_relaxed)) return false;
    const std::size_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= n) return false;
    try {
      (*fn)(item, worker);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error || item < error_item) {
        error = std::current_exception();
        error_item = item;
      }
      stop.store(true, std::memory_order_relaxed);
    }
    done.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
};

class Pool {
 public:
  void submit(Job* job, std::size_t helpers) {
    {
      const std::lock_guard lock(mutex_);
      for (; n_threads_ < helpers; ++n_threads_) std::thread([this] { work(); }).detach();
      queue_.insert(queue_.end(), helpers, job);
    }
    wake_.notify_all();
  }

  /// Drop the job's places that nobody took, then wait for the workers inside it.
  void retire(Job* job, const std::function<void()>& poll) {
    std::unique_lock lock(mutex_);
    std::erase(queue_, job);
    while (job->running > 0) {
      left_.wait_for(lock, ProgressMeter::kInterval);
      if (poll && job->running > 0) {
        lock.unlock();
        poll();
        lock.lock();
      }
    }
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      Job* job = queue_.front();
      queue_.pop_front();
      const std::size_t worker = job->next_worker++;
      ++job->running;
      lock.unlock();
      while (job->run_one(worker)) {
      }
      lock.lock();
      --job->running;
      left_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::deque<Job*> queue_;
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
  if (threads > 0) return std::min(threads, kMaxThreads);
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::size_t>(CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(std::size_t n, std::size_t threads, const std::function<void(std::size_t, std::size_t)>& fn,
                  const std::function<void(std::size_t)>& poll) {
  Job job;
  job.n = n;
  job.fn = &fn;
  const std::size_t helpers = n == 0 ? 0 : std::min(resolve_threads(threads), n) - 1;
  Pool* pool = nullptr;
  if (helpers > 0) {
    pool = &shared_pool();
    pool->submit(&job, helpers);
  }
  std::exception_ptr poll_error;
  const auto guarded_poll = [&] {
    if (!poll || poll_error) return;
    try {
      poll(job.done.load(std::memory_order_relaxed));
    } catch (...) {
      poll_error = std::current_exception();
      job.stop.store(true, std::memory_order_relaxed);
    }
  };
  while (job.run_one(0)) guarded_poll();
  if (pool != nullptr) pool->retire(&job, guarded_poll);
  if (poll_error) std::rethrow_exception(poll_error);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace whimbrel
