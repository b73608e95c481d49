// Turns of readers and a writer: nobody is kept out, and a reader with much to do learns that it should end.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/slice_mutex.hpp"

using whimbrel::SliceMutex;

TEST_CASE("a reader comes between slices that follow each other") {
  SliceMutex state;
  std::atomic<bool> started = false, done = false;
  int changed = 0, unfinished = 0;
  std::thread writer([&] {
    while (!started) std::this_thread::yield();
    constexpr std::size_t kSlices = 100;
    state.change_each(2 * kSlices, 2, [&](std::size_t) {
      ++changed;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    });
    done = true;
  });
  int reads = 0, turns = 0, last = 0;
  while (!done) {
    const auto lock = state.read();
    started = true;
    unfinished += changed % 2;
    turns += changed != last;
    last = changed;
    ++reads;
  }
  writer.join();
  CHECK(unfinished == 0);
  CHECK(changed == 200);
  CHECK(turns >= 20);  // of 100; a mutex alone lets a few in
  CHECK(reads >= turns);
}

TEST_CASE("a reader is told that a writer waits for it") {
  SliceMutex state;
  std::thread writer;
  {
    const auto lock = state.read();
    CHECK(!state.wanted());
    writer = std::thread([&] { state.change([] {}); });
    while (!state.wanted()) std::this_thread::yield();
  }
  writer.join();
  CHECK(!state.wanted());
}
