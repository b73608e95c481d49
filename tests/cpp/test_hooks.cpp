// An engine's own threads, log and locks; its limits are in test_hook_limits.cpp.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/index_mutex.hpp"
#include "base/parallel.hpp"
#include "random_sets.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"

using namespace whimbrel;

namespace {

using Task = std::function<void()>;

/// The engine's pool.
class Threads {
 public:
  explicit Threads(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) threads_.emplace_back([this] { work(); });
    for (const std::thread& thread : threads_) ids.insert(thread.get_id());
  }
  ~Threads() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  void post(Task task) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

  std::set<std::thread::id> ids;

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const Task task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

constexpr std::size_t kDim = 24;
const RandomSets kSet({900}, kDim, 5);
const MatrixView<const float> kRows = kSet.view().tokens;

std::string build_and_search() {
  const HnswIndex index = HnswIndex::build(kRows, {.M = 8, .ef_construction = 40});
  std::string bytes;
  index.save([&](const void* data, std::size_t size) { bytes.append(static_cast<const char*>(data), size); });
  std::vector<std::int64_t> ids(kRows.rows * 5);
  std::vector<float> distances(ids.size());
  const auto append = [&](const auto& values) {
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof values[0]);
  };
  index.search(kRows, {.k = 5}, ids.data(), distances.data());
  append(ids);
  append(distances);
  knn_self(kRows, {.k = 5}, ids.data(), distances.data());
  append(ids);
  append(distances);
  return bytes;
}

}  // namespace

TEST_CASE("loops run in the engine's threads and in the calling one, at most as many as it allows") {
  Threads pool(3);
  Hooks hooks;
  hooks.submit = [&](Task task) { pool.post(std::move(task)); };
  for (const std::size_t concurrency : {1, 2, 4}) {
    hooks.concurrency = concurrency;
    const UseHooks scope(hooks);
    CHECK(resolve_threads(0) == concurrency);
    CHECK(resolve_threads(2) == std::min<std::size_t>(2, concurrency));
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::vector<std::atomic<int>> runs(2000);
    std::size_t polls = 0;
    const auto caller = std::this_thread::get_id();
    parallel_for(
        runs.size(), 0,
        [&](std::size_t item, std::size_t worker) {
          CHECK(worker < concurrency);
          ++runs[item];
          std::this_thread::sleep_for(std::chrono::microseconds(10));
          const std::lock_guard lock(mutex);
          seen.insert(std::this_thread::get_id());
        },
        [&](std::size_t) {
          CHECK(std::this_thread::get_id() == caller);
          ++polls;
        });
    CHECK((polls > 0 || !seen.contains(caller)));  // helpers may have taken all
    for (const auto& r : runs) CHECK(r == 1);
    CHECK(seen.size() <= concurrency);
    seen.erase(std::this_thread::get_id());
    CHECK(std::includes(pool.ids.begin(), pool.ids.end(), seen.begin(), seen.end()));
  }
  CHECK(resolve_threads(7) == 7);  // the hooks are gone with their scope
}

TEST_CASE(
    "results have the same bits on any executor, also one that refuses, is late, or runs tasks at once") {
  const std::string expected = build_and_search();
  Threads pool(2);
  std::deque<Task> kept;
  std::size_t asked = 0;
  const std::vector<std::function<void(Task)>> executors = {
      [&](Task task) { pool.post(std::move(task)); },
      [&](Task task) { task(); },
      [&](const Task&) {},  // thrown away
      [&](Task task) { kept.push_back(std::move(task)); },
      [&](Task task) {
        if (++asked % 2 == 0) throw std::runtime_error("busy");
        pool.post(std::move(task));
      },
  };
  for (const auto& executor : executors) {
    Hooks hooks;
    hooks.submit = executor;
    hooks.concurrency = 4;
    const UseHooks scope(hooks);
    CHECK(build_and_search() == expected);
  }
  CHECK(asked > 0);
  CHECK(!kept.empty());
  for (const Task& task : kept) task();  // all loops are over, and nothing happens
}

TEST_CASE("a pool whose only thread makes the call does not wait for itself") {
  const std::string expected = build_and_search();
  Threads pool(1);
  Hooks hooks;
  hooks.submit = [&](Task task) { pool.post(std::move(task)); };
  hooks.concurrency = 4;
  std::string got;
  std::mutex mutex;
  std::condition_variable finished;
  pool.post([&] {
    const UseHooks scope(hooks);
    std::string bytes = build_and_search();
    const std::lock_guard lock(mutex);
    got = std::move(bytes);
    finished.notify_one();
  });
  std::unique_lock lock(mutex);
  finished.wait(lock, [&] { return !got.empty(); });
  CHECK(got == expected);
}

TEST_CASE("an error in an engine's thread reaches the caller, and items see the hooks of the call") {
  Threads pool(2);
  Hooks hooks;
  hooks.submit = [&](Task task) { pool.post(std::move(task)); };
  hooks.concurrency = 3;
  const UseHooks scope(hooks);
  const auto fail = [](std::size_t item, std::size_t) {
    CHECK(resolve_threads(0) == 3);
    if (item == 50) throw std::runtime_error("50");
  };
  CHECK_THROWS_WITH_AS(parallel_for(1000, 0, fail), "50", std::runtime_error);
}

TEST_CASE("inner hooks replace outer ones, and null ones mean none") {
  Hooks outer, inner;
  outer.concurrency = 3;
  inner.concurrency = 2;
  const UseHooks first(outer);
  {
    const UseHooks second(inner);
    CHECK(resolve_threads(0) == 2);
    const UseHooks third(nullptr);
    CHECK(resolve_threads(5) == 5);
  }
  CHECK(resolve_threads(0) == 3);
}

TEST_CASE("the log hears of builds and of slower ways, and what it throws is dropped") {
  std::vector<std::string> lines;
  Hooks hooks;
  hooks.log = [&](std::string_view line) {
    lines.emplace_back(line);
    throw std::runtime_error("nobody listens");
  };
  {
    const UseHooks scope(hooks);
    const HnswIndex index = HnswIndex::build(kRows, {.M = 4, .ef_construction = 10});
    CHECK(index.size() == kRows.rows);
    CHECK(lines.size() == 1);
    CHECK(lines.back().find("hnsw: added 900 rows to 0 in ") == 0);

    // Rows that are all alike cannot be told apart by proposals.
    const std::vector<float> equal(2000 * 4, 1.0f);
    std::vector<std::int64_t> ids(2000);
    std::vector<float> distances(ids.size());
    knn_self({equal.data(), 2000, 4}, {.k = 1}, ids.data(), distances.data());
  }
  CHECK(lines.size() >= 1);
  const std::size_t heard = lines.size();
  HnswIndex::build(kRows, {.M = 4, .ef_construction = 10});
  CHECK(lines.size() == heard);
}

TEST_CASE("who waits for a writer or for readers can be stopped, and has the lock otherwise") {
  IndexMutex mutex;
  const auto waits = [&](bool writes) {
    bool exceeded = false;
    std::thread([&] {
      Hooks hooks;
      hooks.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
      const UseHooks scope(hooks);
      try {
        if (writes)
          const auto lock = mutex.write();
        else
          const auto lock = mutex.read();
      } catch (const DeadlineExceeded&) {
        exceeded = true;
      }
    }).join();
    return exceeded;
  };
  {
    const auto lock = mutex.write();
    CHECK(waits(true));
    CHECK(waits(false));
  }
  {
    const auto lock = mutex.read();
    CHECK(waits(true));
    CHECK_FALSE(waits(false));
  }
  CHECK_FALSE(waits(true));
}
