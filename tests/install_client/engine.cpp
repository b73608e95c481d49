// An engine that embeds the library: its own threads run the loops, its limits of memory and time hold, and
// an index is written to its own storage and read from there.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <whimbrel/byte_io.hpp>
#include <whimbrel/errors.hpp>
#include <whimbrel/hnsw.hpp>
#include <whimbrel/hooks.hpp>

namespace {

class Pool {
 public:
  explicit Pool(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Pool() {
    post({});
    for (std::thread& thread : threads_) thread.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// An empty task ends the threads.
  void post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_all();
  }
  std::size_t ran() {
    const std::lock_guard lock(mutex_);
    return ran_;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !tasks_.empty(); });
      if (!tasks_.front()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      ++ran_;
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::size_t ran_ = 0;
  std::vector<std::thread> threads_;
};

void expect(bool good, const char* what) {
  if (!good) throw std::logic_error(std::string("expected ") + what);
}

template <class Error, class Call>
void expect_error(const Call& call, const char* what) {
  try {
    call();
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    return;
  }
  expect(false, what);
}

void run() {
  constexpr std::size_t n = 4000, dim = 24, k = 5;
  std::vector<float> values(n * dim), distances(n * k);
  std::vector<std::int64_t> found(n * k);
  std::mt19937 generator(7);
  for (float& x : values) x = static_cast<float>(generator() >> 8) * 0x1p-24f;
  const whimbrel::MatrixView<const float> vectors(values.data(), n, dim);

  // Pages of the engine's storage.
  std::vector<std::vector<std::byte>> pages;
  const auto write = [&](const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    pages.emplace_back(bytes, bytes + size);
  };
  std::size_t page = 0, at = 0;
  const auto read = [&](void* data, std::size_t size) {
    for (; page < pages.size() && at == pages[page].size(); at = 0) ++page;
    if (page == pages.size()) return std::size_t{0};
    const std::size_t some = std::min(size, pages[page].size() - at);
    std::copy_n(pages[page].data() + at, some, static_cast<std::byte*>(data));
    at += some;
    return some;
  };

  Pool pool(2);
  whimbrel::MemoryLimit memory(std::size_t{64} << 20);
  whimbrel::Hooks hooks;
  hooks.submit = [&](std::function<void()> task) { pool.post(std::move(task)); };
  hooks.concurrency = 3;
  hooks.memory = &memory;
  hooks.log = [](std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  };
  {
    const whimbrel::UseHooks scope(hooks);
    whimbrel::HnswIndex::build(vectors, {.M = 12}).save(write);
    const auto index = whimbrel::HnswIndex::load(read);
    expect(memory.used() == index.memory_usage(), "the index on the account");
    index.search(vectors, {.k = k, .ef_search = 100}, found.data(), distances.data());
    std::size_t selves = 0;
    for (std::size_t i = 0; i < n; ++i) selves += found[i * k] == static_cast<std::int64_t>(i) ? 1 : 0;
    expect(selves > n * 99 / 100, "rows to find themselves");
    expect(pool.ran() > 0, "work in the engine's threads");
  }
  expect(memory.used() == 0, "nothing left on the account");

  // The largest difference of a coordinate.
  const whimbrel::UserDistance chebyshev = {
      "chebyshev",
      [](const float* query, std::size_t d, const float* const* rows, std::size_t count, float* out) {
        for (std::size_t i = 0; i < count; ++i) {
          out[i] = 0;
          for (std::size_t j = 0; j < d; ++j) out[i] = std::max(out[i], std::abs(query[j] - rows[i][j]));
        }
      }};
  const auto own = whimbrel::HnswIndex::build(
      vectors, {.metric = whimbrel::Metric::kUser, .M = 8, .ef_construction = 50, .distance = chebyshev});
  own.search({values.data() + 7 * dim, 1, dim}, {.k = 1}, found.data(), distances.data());
  expect(found[0] == 7 && distances[0] == 0, "a row to be nearest to itself");

  whimbrel::HnswIndex index(dim, {});
  whimbrel::MemoryLimit too_little(1000);
  whimbrel::Hooks poor, late;
  poor.memory = &too_little;
  late.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
  const auto add = [&](const whimbrel::Hooks& with) {
    const whimbrel::UseHooks scope(with);
    index.add(vectors);
  };
  expect_error<whimbrel::MemoryLimitExceeded>([&] { add(poor); }, "a limit that is kept");
  expect_error<whimbrel::DeadlineExceeded>([&] { add(late); }, "a deadline that is kept");
  expect(index.size() == 0 && too_little.used() == 0, "an index without the rows that failed");
}

}  // namespace

int main() {
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
