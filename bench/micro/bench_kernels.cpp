// The kernels themselves, each instruction set of the machine: distances of a query to rows, tiles of
// products, the matrix unit, selection. What a caller of the package sees is in bench_kernels.py.
//
// Rates stand beside limits of the same run (limits.hpp): `of_copy` is the share of a copy loop over as many
// bytes (a kernel reads only, so it may exceed 1), `of_peak` that of multiply-adds in registers. A squared
// difference counts as 3 operations, a product as 2; l2 cannot reach the peak, since it subtracts first.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <ctime>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bfloat16.hpp"
#include "base/half.hpp"
#include "base/memory.hpp"
#include "base/top_k.hpp"
#include "kernels/dispatch.hpp"
#include "limits.hpp"

namespace {

using benchmark::State;
using namespace whimbrel;
using kernels::Bf16;
using kernels::KernelTable;
using kernels::RowBlocks;

constexpr std::size_t kDims[] = {32, 128, 384, 784, 1536};
constexpr std::size_t kInCache = std::size_t{256} << 10, kInMemory = std::size_t{256} << 20;
constexpr std::size_t kIdsPerCall = 32;  // about the neighbors of a node

/// Numbers in [-1, 1) that do not repeat in a way that a predictor could learn.
template <class T>
AlignedArray<T> values(std::size_t n) {
  AlignedArray<T> made(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto noise = static_cast<std::uint32_t>(i * 2654435761U) >> 8;
    const float value = static_cast<float>(noise) / 8388608.0F - 1.0F;
    if constexpr (std::is_same_v<T, float>)
      made[i] = value;
    else if constexpr (std::is_same_v<T, kernels::Half>)
      made[i] = {to_half(value)};
    else
      made[i] = to_bf16(value);
  }
  return made;
}

/// As many as the largest bench reads, made once.
template <class T>
const AlignedArray<T>& shared_values() {
  static const AlignedArray<T> made = values<T>(kInMemory / sizeof(T));
  return made;
}

/// Seconds of one call: processor time, so that other work on the machine does not lower the rates.
template <class Fn>
double seconds_of(State& state, Fn fn) {
  const std::clock_t start = std::clock();
  for (auto _ : state) {
    fn();
    benchmark::ClobberMemory();
  }
  const auto ticks = static_cast<double>(std::clock() - start);
  return std::max(ticks, 1.0) / CLOCKS_PER_SEC / static_cast<double>(state.iterations());
}

void note_bytes(State& state, double bytes, double seconds, double copy_rate) {
  state.counters["GB/s"] = bytes / seconds / 1e9;
  state.counters["of_copy"] = bytes / seconds / copy_rate;
}

void note_operations(State& state, double operations, double seconds, double peak) {
  state.counters["GFLOP/s"] = operations / seconds / 1e9;
  state.counters["of_peak"] = operations / seconds / peak;
}

enum class Form { kL2, kIp };

template <class T>
void rows(State& state, const KernelTable& table, Form form, std::size_t dim, std::size_t bytes) {
  const kernels::MetricKernels& metric = form == Form::kL2 ? table.l2 : table.ip;
  kernels::IdsKernel<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = metric.fast_ids;
  else
    kernel = metric.fast_ids_f16;
  const AlignedArray<T>& data = shared_values<T>();
  const T* block = data.data();
  const RowBlocks<T> blocks{&block, 31, (1U << 31) - 1, dim};
  const AlignedArray<float> query = values<float>(dim);

  const std::size_t n = bytes / (dim * sizeof(T));
  std::vector<std::uint32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0U);
  for (std::size_t i = n - 1; i > 0; --i) std::swap(ids[i], ids[i * 2654435761U % (i + 1)]);
  std::vector<float> out(kIdsPerCall);
  std::size_t next = 0;
  const double seconds = seconds_of(state, [&] {
    kernel(query.data(), dim, blocks, ids.data() + next, kIdsPerCall, out.data());
    benchmark::DoNotOptimize(out.data());
    next = next + 2 * kIdsPerCall <= n ? next + kIdsPerCall : 0;
  });
  const auto read = static_cast<double>(kIdsPerCall * dim);
  note_bytes(state, read * sizeof(T), seconds, bench::copy_rate(bytes));
  note_operations(state, read * (form == Form::kL2 ? 3 : 2), seconds, bench::vector_rate(table));
}

/// One pair at a time, in the first-level cache: what is returned to a caller costs this much more.
void pair(State& state, const KernelTable& table, kernels::PairKernel kernel, double operations,
          std::size_t dim) {
  const AlignedArray<float> a = values<float>(dim), b = values<float>(dim + 1);
  const double seconds =
      seconds_of(state, [&] { benchmark::DoNotOptimize(kernel(a.data(), b.data(), dim)); });
  note_operations(state, operations * static_cast<double>(dim), seconds, bench::vector_rate(table));
}

/// A group of rows against a panel of queries, both in the caches.
void tile(State& state, const KernelTable& table, std::size_t dim) {
  const AlignedArray<float> group = values<float>(table.tile_rows * dim),
                            panel = values<float>(table.tile_cols * dim);
  AlignedArray<float> out(table.tile_rows * table.tile_cols);
  const double seconds = seconds_of(state, [&] {
    for (std::size_t k = 0; k < dim; k += kernels::kTileDepth)
      table.tile(group.data() + k, dim, panel.data() + k * table.tile_cols,
                 std::min(kernels::kTileDepth, dim - k), k > 0, out.data());
    benchmark::DoNotOptimize(out.data());
  });
  const auto operations = 2 * static_cast<double>(table.tile_rows * table.tile_cols * dim);
  note_operations(state, operations, seconds, bench::vector_rate(table));
}

void matrix_tile(State& state, const KernelTable& table, std::size_t dim) {
  const kernels::MatrixUnit& unit = table.matrix;
  const std::size_t depth = round_up(dim, unit.depth);
  const AlignedArray<Bf16> group = values<Bf16>(unit.rows * depth), panel = values<Bf16>(unit.cols * depth);
  AlignedArray<float> out(unit.rows * unit.cols);
  unit.claim();
  const double seconds = seconds_of(state, [&] {
    unit.tile(group.data(), depth, panel.data(), depth, out.data());
    benchmark::DoNotOptimize(out.data());
  });
  unit.release();
  const auto operations = 2 * static_cast<double>(unit.rows * unit.cols * dim);
  note_operations(state, operations, seconds, bench::matrix_rate(table));
}

/// Rounding of rows to bfloat16, which comes before each group of the matrix unit.
void matrix_round(State& state, const KernelTable& table, std::size_t dim) {
  const AlignedArray<float> row = values<float>(dim);
  AlignedArray<Bf16> out(round_up(dim, table.matrix.depth));
  const double seconds =
      seconds_of(state, [&] { benchmark::DoNotOptimize(table.matrix.round(row.data(), dim, out.data())); });
  const auto bytes = static_cast<double>(dim * (sizeof(float) + sizeof(Bf16)));
  note_bytes(state, bytes, seconds, bench::copy_rate(kInCache));
}

/// The comparisons of selection where no score is below its bound, as nearly always.
void select(State& state, const KernelTable& table) {
  const std::size_t n = table.tile_cols;
  const AlignedArray<float> products = values<float>(n);
  AlignedArray<float> bounds(n), scores(n);
  std::fill_n(bounds.data(), n, -10.0F);
  for (auto _ : state)
    benchmark::DoNotOptimize(table.select(products.data(), n, 1.0F, 2.0F, bounds.data(), scores.data()));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
}

/// A stream of random scores into the best k.
void top_k(State& state) {
  const auto k = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t kN = 100'000;
  const AlignedArray<float>& scores = shared_values<float>();
  for (auto _ : state) {
    TopK best(k);
    for (std::size_t i = 0; i < kN; ++i) best.push(scores[i], static_cast<std::uint32_t>(i));
    benchmark::DoNotOptimize(best.finish().data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kN));
}

template <class Fn>
void add(const std::string& name, Fn fn) {
  benchmark::RegisterBenchmark(name.c_str(), fn);
}

template <class T>
void add_rows(const KernelTable& table, const std::string& dtype) {
  for (const auto& [form, metric] : {std::pair{Form::kL2, "l2"}, std::pair{Form::kIp, "ip"}})
    for (const auto& [bytes, place] : {std::pair{kInCache, "cache"}, std::pair{kInMemory, "memory"}})
      for (const std::size_t dim : kDims)
        add("rows/" + std::string(metric) + "/" + dtype + "/" + place + "/d:" + std::to_string(dim) + "/" +
                table.isa,
            [&table, form = form, bytes = bytes, dim](State& state) {
              rows<T>(state, table, form, dim, bytes);
            });
}

void add_table(const KernelTable& table) {
  add_rows<float>(table, "float32");
  add_rows<kernels::Half>(table, "float16");
  const std::string isa = table.isa;
  for (const std::size_t dim : kDims) {
    const std::string at = "/d:" + std::to_string(dim) + "/" + isa;
    add("pair/l2/canonical" + at, [&table, dim](State& s) { pair(s, table, table.l2.canonical, 3, dim); });
    add("pair/l2/fast" + at, [&table, dim](State& s) { pair(s, table, table.l2.fast, 3, dim); });
    add("pair/ip/canonical" + at, [&table, dim](State& s) { pair(s, table, table.ip.canonical, 2, dim); });
    add("pair/ip/fast" + at, [&table, dim](State& s) { pair(s, table, table.ip.fast, 2, dim); });
    add("tile/float32" + at, [&table, dim](State& s) { tile(s, table, dim); });
    if (table.matrix.rows == 0) continue;
    add("matrix/bfloat16" + at, [&table, dim](State& s) { matrix_tile(s, table, dim); });
    add("round/bfloat16" + at, [&table, dim](State& s) { matrix_round(s, table, dim); });
  }
  add("select/" + isa, [&table](State& s) { select(s, table); });
}

}  // namespace

int main(int argc, char** argv) {
  for (const KernelTable* table : kernels::available_tables()) {
    add_table(*table);
    benchmark::AddCustomContext(std::string("GFLOP/s of vectors, ") + table->isa,
                                std::to_string(bench::vector_rate(*table) / 1e9));
    if (table->matrix.rows > 0)
      benchmark::AddCustomContext(std::string("GFLOP/s of the matrix unit, ") + table->isa,
                                  std::to_string(bench::matrix_rate(*table) / 1e9));
  }
  for (const auto& [bytes, place] : {std::pair{kInCache, "cache"}, std::pair{kInMemory, "memory"}})
    benchmark::AddCustomContext(std::string("GB/s of a copy, ") + place,
                                std::to_string(bench::copy_rate(bytes) / 1e9));
  benchmark::RegisterBenchmark("top_k", top_k)->RangeMultiplier(10)->Range(1, 1000)->ArgName("k");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
