// Every scan kernel against scores in double precision. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_rows.hpp"
#include "prepare.cuh"
#include "scan.cuh"

namespace whimbrel::cuda {
namespace {

constexpr std::size_t kRows = 2500, kQueries = 300;

struct Case {
  ScanKernel kernel;
  unsigned group;
  std::size_t dim;
  Metric metric;
  KnnScope scope;
  bool positive = false;  ///< all products of one sign: what the unit cuts off adds up
};

void check_scan(const Case& c) {
  const std::size_t first_row = c.scope == KnnScope::kAll ? 0 : 700;
  std::vector<float> values(kRows * c.dim), query_values(kQueries * c.dim);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = c.positive ? 1.5f + 0.5f * uniform(1, i) : bell(1, i) + 0.5f;
  for (std::size_t i = 0; i < query_values.size(); ++i)
    query_values[i] = c.scope != KnnScope::kAll ? values[first_row * c.dim + i]
                      : c.positive              ? 1.5f + 0.5f * uniform(2, i)
                                                : bell(2, i);
  const HostRows host(values, c.dim, ElementType::kF32), host_queries(query_values, c.dim, ElementType::kF32);
  const OnDevice device_rows(host), device_queries(host_queries);
  const DeviceMatrix data(device_rows.rows(), c.metric, nullptr);

  DeviceLimits limits{};
  REQUIRE(read_limits(limits) == cudaSuccess);
  ScanPlan plan{};
  plan_scan(kQueries, kRows, data.operand().depth, 10, c.scope, limits, plan);
  set_kernel(plan, c.kernel);
  plan.group = c.group;
  set_runs(plan, kQueries, kRows, 1, 1);  // few processors: long runs, several tiles to a span
  const std::size_t padded = (kQueries + plan.tile_rows - 1) / plan.tile_rows * plan.tile_rows;
  const DeviceBuffer operand(padded * data.operand().depth * 2), rows(kQueries * c.dim * 4),
      slack(kQueries * 4), open(4), minima_buffer(kQueries * plan.minima() * 4);
  REQUIRE(cudaMemset(minima_buffer.data(), 0xff, minima_buffer.bytes()) == cudaSuccess);
  const QueryOperand out{operand.data<__half>(), rows.data<float>(), slack.data<float>(),
                         open.data<std::uint32_t>()};
  REQUIRE(prepare_queries(device_queries.rows(), padded, data.operand(), c.metric, true, out, nullptr) ==
          cudaSuccess);
  REQUIRE(launch_scan(plan, data.operand(), out.values, kQueries, first_row,
                      Minima(minima_buffer.data<float>(), plan, kQueries), limits, nullptr) == cudaSuccess);
  auto fetched = fetch<float>(minima_buffer, kQueries * plan.minima());
  const Minima minima(fetched.data(), plan, kQueries);
  const auto slacks = fetch<float>(slack, kQueries);
  std::vector<__half> row_halves(data.operand().padded_rows * data.operand().depth);
  std::vector<float> bias(data.operand().padded_rows);
  REQUIRE(cudaMemcpy(row_halves.data(), data.operand().values, row_halves.size() * 2,
                     cudaMemcpyDeviceToHost) == cudaSuccess);
  REQUIRE(cudaMemcpy(bias.data(), data.operand().bias, bias.size() * 4, cudaMemcpyDeviceToHost) ==
          cudaSuccess);
  const auto query_halves = fetch<__half>(operand, padded * data.operand().depth);
  const std::size_t depth = data.operand().depth;
  const auto value = [&](const std::vector<__half>& operand_halves, std::size_t row, std::size_t j) {
    const std::size_t at = operand_offset(row, j / 8, depth / kDepthStep) / 2 + j % 8;
    return __half2float(operand_halves[at]);
  };
  std::vector<float> row_floats(row_halves.size()), query_floats(query_halves.size());
  for (std::size_t i = 0; i < row_floats.size(); ++i) row_floats[i] = value(row_halves, i / depth, i % depth);
  for (std::size_t i = 0; i < query_floats.size(); ++i)
    query_floats[i] = value(query_halves, i / depth, i % depth);

  std::size_t n_wrong = 0;
  double largest = 0;
  std::string first_wrong;
  const auto differ = [&](double got, double expected, double bound, const char* what, std::size_t q,
                          std::size_t at) {
    const bool same = std::isinf(expected) ? got == expected : std::abs(got - expected) <= bound;
    if (same && !std::isinf(expected)) largest = std::max(largest, std::abs(got - expected) / bound);
    if (same) return;
    if (n_wrong++ == 0)
      first_wrong = std::string(what) + " query " + std::to_string(q) + " at " + std::to_string(at) + ": " +
                    std::to_string(got) + " expected " + std::to_string(expected);
  };
  for (std::size_t q = 0; q < kQueries; q += 7) {
    CHECK(slacks[q] > 0);
    CHECK(std::isfinite(slacks[q]));
    double squares = 0;
    for (std::size_t j = 0; j < depth; ++j)
      squares += static_cast<double>(query_floats[q * depth + j]) * query_floats[q * depth + j];
    const OperandBounds& rows_bounds = data.operand().bounds;
    // Of the fp16 values as they are: only the sums can be off.
    const double bound =
        unit_sum_error(depth, rows_bounds.bias, (rows_bounds.norm + rows_bounds.lost) * std::sqrt(squares));
    const std::size_t tiles = plan.tiles_for(first_row, q / plan.tile_rows);
    std::vector<double> scores(plan.tiles * plan.tile_cols(), std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < kRows; ++i) {
      const std::size_t own = first_row + q;
      if ((c.scope == KnnScope::kOthers && i == own) || (c.scope == KnnScope::kEarlier && i >= own)) continue;
      double sum = bias[i];
      for (std::size_t j = 0; j < depth; ++j)
        sum += static_cast<double>(query_floats[q * depth + j]) * row_floats[i * depth + j];
      scores[i] = sum;
    }
    std::vector<double> by_span(plan.spans(), std::numeric_limits<double>::infinity());
    const unsigned per_block = groups_per_block(plan.group);
    for (std::size_t block = 0; block < tiles * plan.layout.warps; ++block)
      for (unsigned g = 0; g < per_block; ++g) {
        double least = std::numeric_limits<double>::infinity();
        for (unsigned m = 0; m < plan.group; ++m)
          least = std::min(least, scores[block * kBlockCols + group_column(plan.group, g, m)]);
        differ(static_cast<double>(minima.groups[group_place(block, q, kQueries, plan.group) + g]), least,
               bound, "group", q, block * per_block + g);
        const std::size_t span =
            plan.layout.span_of(block / plan.layout.warps, static_cast<unsigned>(block % plan.layout.warps));
        by_span[span] = std::min(by_span[span], least);
      }
    for (std::size_t s = 0; s < plan.layout.spans(tiles); ++s)
      differ(static_cast<double>(minima.spans[span_place(s, q, kQueries)]), by_span[s], bound, "span", q, s);
  }
  CHECK_MESSAGE(n_wrong == 0, n_wrong, " wrong, first: ", first_wrong);
  if (c.positive) MESSAGE("the unit's sums are off by up to ", largest, " of the bound");
}

void check_kernel(ScanKernel kernel, std::size_t most_dims) {
  const bool narrow = kernel == ScanKernel::kHopperNarrow;
  const unsigned most_group = narrow ? 4 : 16;
  for (const unsigned group : {4u, 16u})
    for (const KnnScope scope : {KnnScope::kAll, KnnScope::kOthers, KnnScope::kEarlier})
      for (const std::size_t dim : {3u, 64u, 128u, 200u, 384u}) {
        if (dim > most_dims || (narrow && group != 4) ||
            ((group != most_group || scope != KnnScope::kAll) && dim != 128))
          continue;
        const Metric metric = dim == 64 ? Metric::kIp : dim == 200 ? Metric::kCosine : Metric::kL2;
        CAPTURE(group);
        CAPTURE(static_cast<int>(scope));
        CAPTURE(dim);
        check_scan({kernel, group, dim, metric, scope});
        if (dim == 384 || dim == 200) check_scan({kernel, group, dim, Metric::kIp, scope, true});
      }
}

DeviceLimits device_limits() {
  DeviceLimits limits{};
  REQUIRE(read_limits(limits) == cudaSuccess);
  return limits;
}

TEST_CASE("the scan's minima are those of the scores: tiles of 128 x 128") {
  if (have_device()) check_kernel(ScanKernel::kSmall, 384);
}

TEST_CASE("the scan's minima are those of the scores: kernels that want much shared memory") {
  if (!have_device()) return;
  if (device_limits().shared < 227 * 1024) {
    MESSAGE("not run: less than 227 KB of shared memory");
    return;
  }
  SUBCASE("resident") { check_kernel(ScanKernel::kResident, 256); }
  SUBCASE("streamed") { check_kernel(ScanKernel::kStreamed, 384); }
  SUBCASE("narrow") { check_kernel(ScanKernel::kNarrow, 384); }
}

TEST_CASE("the scan's minima are those of the scores: Hopper") {
  if (!have_device()) return;
  if (!device_limits().hopper) {
    MESSAGE("not run: no Hopper device");
    return;
  }
  SUBCASE("streamed") { check_kernel(ScanKernel::kHopperStreamed, 384); }
  SUBCASE("narrow") { check_kernel(ScanKernel::kHopperNarrow, 384); }
  SUBCASE("resident") { check_kernel(ScanKernel::kHopperResident, 200); }
}

}  // namespace
}  // namespace whimbrel::cuda
