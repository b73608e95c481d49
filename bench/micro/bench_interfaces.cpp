// What the ways to one search cost beside the search: through the C interface, with hooks, a query by itself
// or in a batch. Ways are timed in turns, so that a change of the machine meets all of them; `over_cpp` is
// the median time of a turn, relative to the C++ call's of the same turn.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "whimbrel.h"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"

namespace {

using benchmark::State;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRows = 20'000, kQueries = 256, kK = 10;

struct Index {
  explicit Index(std::size_t dim_)
      : dim(dim_), values((kRows + kQueries) * dim_), ids(kQueries * kK), distances(kQueries * kK) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(static_cast<std::uint32_t>(i * 2654435761U) >> 8) / 8388608.0F - 1.0F;
    wb_hnsw_create(dim, nullptr, &c);
    wb_hnsw_add(c, {values.data(), kRows, dim, 0, WB_FLOAT32}, nullptr, nullptr, nullptr);
  }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;
  ~Index() { wb_hnsw_free(c); }

  /// What the handle points to begins with the index of C++. Two indexes would differ by their place in
  /// memory, which makes several percent.
  const whimbrel::HnswIndex& cpp() const { return *reinterpret_cast<const whimbrel::HnswIndex*>(c); }

  const float* query(std::size_t q) const { return values.data() + (kRows + q) * dim; }

  std::size_t dim;
  std::vector<float> values;
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
  wb_hnsw* c = nullptr;
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// arguments: dim, queries a call.
void bench_interfaces(State& state) {
  const auto dim = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1));
  Index with(dim);
  const whimbrel::SearchParams params{.k = kK, .ef_search = 64, .threads = 1};
  const wb_run run = {sizeof run, 1, nullptr, nullptr};
  const auto search_cpp = [&](std::size_t q) {
    with.cpp().search({with.query(q), n, dim}, params, with.ids.data(), with.distances.data());
  };
  const auto search_c = [&](std::size_t q) {
    wb_hnsw_search(with.c, {with.query(q), n, dim, 0, WB_FLOAT32}, kK, 64, &run, with.ids.data(),
                   with.distances.data());
  };
  whimbrel::Hooks hooks;
  hooks.stop = [] { return false; };
  hooks.deadline = Clock::now() + std::chrono::hours(1);
  const auto search_hooked = [&](std::size_t q) {
    const whimbrel::UseHooks scope(hooks);
    search_cpp(q);
  };

  std::vector<double> cpp, c_ratio, hooked_ratio;
  const auto seconds = [&](const auto& search) {
    const auto start = Clock::now();
    for (std::size_t q = 0; q + n <= kQueries; q += n) search(q);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (auto _ : state) {
    const double plain = seconds(search_cpp);
    cpp.push_back(plain);
    c_ratio.push_back(seconds(search_c) / plain);
    hooked_ratio.push_back(seconds(search_hooked) / plain);
  }
  const auto calls = static_cast<double>(kQueries / n);
  state.counters["cpp_us"] = 1e6 * median(cpp) / calls;
  state.counters["c_over_cpp"] = median(c_ratio);
  state.counters["hooked_over_cpp"] = median(hooked_ratio);
}

BENCHMARK(bench_interfaces)->ArgNames({"dim", "queries"})->ArgsProduct({{32, 384}, {1, 256}})->MinTime(2);

}  // namespace
