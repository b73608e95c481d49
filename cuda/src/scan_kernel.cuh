// What all scan kernels do with a tile's scores: mask what a query must not find, write minima.
#pragma once

#include <cstddef>
#include <limits>

#include "lanes.cuh"
#include "scan.cuh"

namespace whimbrel::cuda {

struct ScanTask {
  const unsigned char* queries;
  const unsigned char* rows;
  const float* bias;
  unsigned steps;  ///< of kDepthStep
  unsigned query_tiles, items_per_query_tile;
  unsigned n_queries, first_row;
  ScanPlan plan;
  float* groups;
  float* spans;
  unsigned n;  ///< of group_place and span_place
};

/// An item: one tile of queries by a run of tiles of rows. Items that differ in the queries alone come side
/// by side, so that the rows are read from memory once.
struct ScanItem {
  unsigned query_tile, first_tile;
  unsigned n_tiles;  ///< 0 for an item that no query of the tile looks at

  __device__ ScanItem(const ScanTask& task, unsigned number)
      : query_tile(number % task.query_tiles), first_tile(number / task.query_tiles * task.plan.item_tiles) {
    const auto all = static_cast<unsigned>(task.plan.tiles_for(task.first_row, query_tile));
    n_tiles = first_tile < all ? min(task.plan.item_tiles, all - first_tile) : 0;
  }
};

/// The minima of a thread's 16 values of one block of columns, for one query. `value(i)`: number i, two of
/// each n8 tile; `span`: the minimum of the span so far, of the thread; `written`: the query exists.
template <unsigned kGroup, class Value>
__device__ void write_minima(float* groups, unsigned lane, Value value, bool written, float& span) {
  static_assert(kGroup == 4 || kGroup == 16);
  float p[4];
#pragma unroll
  for (unsigned j = 0; j < 4; ++j)
    p[j] = fminf(fminf(value(4 * j), value(4 * j + 1)), fminf(value(4 * j + 2), value(4 * j + 3)));
  const float all = fminf(fminf(p[0], p[1]), fminf(p[2], p[3]));
  span = fminf(span, all);
  if (!written) return;
  if constexpr (kGroup == 4)
    reinterpret_cast<float4*>(groups)[lane & 3u] = {p[0], p[1], p[2], p[3]};
  else
    groups[lane & 3u] = all;
}

/// Writes the minimum of a span over the four threads that share a query, and starts another.
__device__ inline void end_span(float* place, unsigned lane, bool written, float& span) {
  span = fminf(span, __shfl_xor_sync(kAllLanes, span, 1));
  span = fminf(span, __shfl_xor_sync(kAllLanes, span, 2));
  if (written && (lane & 3u) == 0) *place = span;
  span = std::numeric_limits<float>::infinity();
}

/// Whether a row must not be found by a query; `ahead`: number of the row less that of the query.
__device__ inline bool masked(KnnScope scope, int ahead) {
  return scope == KnnScope::kEarlier ? ahead >= 0 : ahead == 0;
}
/// Whether that may be so for any of `queries` queries and the 64 rows of a block, `ahead` between the
/// firsts.
__device__ inline bool mask_touches(KnnScope scope, int ahead, int queries) {
  if (scope == KnnScope::kAll) return false;
  return ahead > -static_cast<int>(kBlockCols) && (scope == KnnScope::kEarlier || ahead < queries);
}

/// The scan for Hopper (scan_hopper.cu). `shared`: bytes of shared memory that a block can have.
bool hopper_fits(ScanKernel kernel, std::size_t steps, std::size_t shared);
void set_hopper_shape(ScanPlan& plan);
cudaError_t launch_hopper_scan(const ScanTask& task, const DeviceLimits& limits, cudaStream_t stream);
bool hopper_available(int device);

}  // namespace whimbrel::cuda
