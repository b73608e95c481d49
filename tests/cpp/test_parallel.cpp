// The loop that everything runs on: each item once, errors in order, polls in the caller's thread.
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.hpp"

using whimbrel::parallel_for;

TEST_CASE("every item runs once, and worker numbers are not shared") {
  for (const std::size_t threads : {1, 2, 7})
    for (const std::size_t n : {0, 1, 5, 1000}) {
      std::vector<std::atomic<int>> runs(n);
      std::vector<std::atomic<int>> inside(threads);
      std::atomic<bool> shared{false};
      parallel_for(n, threads, [&](std::size_t item, std::size_t worker) {
        if (inside[worker]++ != 0) shared = true;
        ++runs[item];
        --inside[worker];
      });
      CHECK_FALSE(shared);
      for (const auto& r : runs) CHECK(r == 1);
    }
}

TEST_CASE("the exception of the lowest item is thrown, and later items are dropped") {
  for (const std::size_t threads : {1, 2, 7}) {
    std::atomic<int> runs{0};
    const auto fail = [&](std::size_t item, std::size_t) {
      ++runs;
      if (item % 10 == 3) throw std::runtime_error(std::to_string(item));
    };
    CHECK_THROWS_WITH_AS(parallel_for(100000, threads, fail), "3", std::runtime_error);
    CHECK(runs < 100000);
  }
}

TEST_CASE("poll runs in the calling thread, and its exception stops the loop") {
  for (const std::size_t threads : {1, 2, 7}) {
    const auto caller = std::this_thread::get_id();
    std::atomic<std::size_t> runs{0};
    std::size_t polls = 0;
    const auto work = [&](std::size_t, std::size_t) {
      ++runs;
      std::this_thread::sleep_for(std::chrono::microseconds(10));
    };
    const auto poll = [&](std::size_t done) {
      CHECK(std::this_thread::get_id() == caller);
      CHECK(done <= 100000);
      if (++polls == 3) throw std::logic_error("enough");
    };
    CHECK_THROWS_WITH_AS(parallel_for(100000, threads, work, poll), "enough", std::logic_error);
    CHECK(polls == 3);
    CHECK(runs < 100000);
  }
}

TEST_CASE("loops may run inside loops and beside each other") {
  std::atomic<int> total{0};
  const auto nested = [&](std::size_t, std::size_t) {
    parallel_for(20, 3, [&](std::size_t, std::size_t) { ++total; });
  };
  std::thread other([&] { parallel_for(30, 3, nested); });
  parallel_for(30, 3, nested);
  other.join();
  CHECK(total == 2 * 30 * 20);
}

TEST_CASE("0 threads are all processors, and a mistake in the number does not exhaust the system") {
  CHECK(whimbrel::resolve_threads(0) >= 1);
  CHECK(whimbrel::resolve_threads(static_cast<std::size_t>(-1)) == 1024);
  std::atomic<std::size_t> runs{0}, highest{0};
  parallel_for(100, 0, [&](std::size_t, std::size_t worker) {
    ++runs;
    std::size_t seen = highest;
    while (worker > seen && !highest.compare_exchange_weak(seen, worker)) {
    }
  });
  CHECK(runs == 100);
  CHECK(highest < whimbrel::resolve_threads(0));
}
