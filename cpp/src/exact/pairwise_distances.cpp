// Canonical distances of all pairs: what is returned when no neighbor is looked for. One pair after the
// other, so it runs at the rate of the canonical kernel and not at that of a matrix product.
#include <algorithm>
#include <cstddef>

#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/exact.hpp"

namespace whimbrel {
namespace {

/// Rows that a work item reads for its query: they stay in the cache for the next one.
constexpr std::size_t kBlockRows = 512;

MatrixView<const float> normalized(MatrixView<const float> rows, std::size_t threads,
                                   AlignedArray<float>& out) {
  out = AlignedArray<float>(rows.rows * rows.cols);
  parallel_for(rows.rows, threads,
               [&](std::size_t i, std::size_t) { normalize(rows.row(i), rows.cols, &out[i * rows.cols]); });
  return {out.data(), rows.rows, rows.cols};
}

}  // namespace

void pairwise_distances(MatrixView<const float> data, MatrixView<const float> queries, Metric metric,
                        std::size_t threads, const ProgressFn& progress, float* distances) {
  check_metric(metric);
  check_cols("queries", queries, data.cols);
  check_finite("data", data, threads);
  check_finite("queries", queries, threads);
  AlignedArray<float> normalized_data, normalized_queries;
  if (metric == Metric::kCosine) {
    data = normalized(data, threads, normalized_data);
    queries = normalized(queries, threads, normalized_queries);
  }
  const kernels::PairKernel canonical = kernels::metric_kernels(kernels::active_table(), metric).canonical;

  const std::size_t n = data.rows, blocks = (n + kBlockRows - 1) / kBlockRows;
  if (n == 0) return;
  ProgressMeter meter(progress, queries.rows);
  parallel_for(
      blocks * queries.rows, threads,
      [&](std::size_t item, std::size_t) {
        const std::size_t block = item / queries.rows, q = item % queries.rows;
        for (std::size_t i = block * kBlockRows; i < std::min(n, (block + 1) * kBlockRows); ++i) {
          const float distance = canonical(queries.row(q), data.row(i), data.cols);
          distances[q * n + i] = metric == Metric::kCosine ? distance + 1 : distance;
        }
      },
      [&](std::size_t done) { meter.update(done / blocks); });
  meter.finish();
}

}  // namespace whimbrel
