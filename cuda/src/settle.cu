// Settling: of each query's minima those that can matter, of their rows those that can matter, of these the
// canonical distances, sorted. One block per query.
//
// With E the bound of error_bound.hpp, at least k rows have canonical values of at most the k-th score + E,
// so a neighbor's score is at most the k-th score + 2 E (the query's slack). The k-th smallest minimum of
// groups is a bound of the k-th score, and the k-th smallest minimum of spans one of that. So each step keeps
// what is within the slack of its own k-th and drops the rest, and nothing that is dropped is a neighbor,
// ties included. Only where more is kept than there is room for, the query stays open.
#include "settle.cuh"

#include <algorithm>
#include <limits>

#include "block_select.hpp"
#include "rows.cuh"
#include "thread_block.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kThreads = 256;
/// Settling a few queries: more threads for each.
constexpr unsigned kManyThreads = 1024;
constexpr std::size_t kFewQueries = 128;
/// Rows whose canonical distances a warp computes at once.
constexpr unsigned kAtOnce = 4;

/// How much one query can keep.
struct Room {
  unsigned rows;       ///< members of the groups kept
  unsigned survivors;  ///< rows whose canonical distances are computed, a power of two
};

struct Kept {
  std::uint32_t* bins;     // kBins
  std::uint32_t* groups;   // rows / G
  std::uint32_t* keys;     // rows
  std::uint64_t* nearest;  // survivors
};

__device__ std::uint32_t raised(std::uint32_t key, float slack) {
  return ordered_key(__fadd_ru(ordered_value(key), slack));
}

/// f(key, group number) for this thread's share of the groups in the spans of at most `limit`.
template <class Block, class F>
__device__ void for_groups(const ScanPlan& plan, std::size_t tiles, const Minima& minima, std::size_t query,
                           std::uint32_t limit, const Block& block, F f) {
  const unsigned per_block = groups_per_block(plan.group);
  const unsigned per_span = per_block * plan.layout.span_tiles;
  const auto n_spans = static_cast<unsigned>(plan.layout.spans(tiles));
  for (unsigned base = block.warp() * kLanes; base < n_spans; base += block.threads()) {
    const unsigned own = base + block.lane();
    const bool kept = own < n_spans && ordered_key(minima.spans[span_place(own, query, minima.n)]) <= limit;
    for (unsigned hits = __ballot_sync(kAllLanes, kept); hits != 0; hits &= hits - 1) {
      const unsigned span = base + static_cast<unsigned>(__ffs(static_cast<int>(hits))) - 1;
      for (unsigned i = block.lane(); i < per_span; i += kLanes) {
        if (plan.layout.tile_of(span, i / per_block) >= tiles) continue;
        const auto at = static_cast<unsigned>(plan.layout.block_of(span, i / per_block));
        f(ordered_key(minima.groups[group_place(at, query, minima.n, plan.group) + i % per_block]),
          at * per_block + i % per_block);
      }
    }
  }
}

/// Product of 8 halves each, added to a sum.
__device__ float add_product(float sum, const uint4& a, const uint4& b) {
  const auto* x = reinterpret_cast<const __half2*>(&a);
  const auto* y = reinterpret_cast<const __half2*>(&b);
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const float2 p = __half22float2(x[i]), q = __half22float2(y[i]);
    sum = fmaf(p.x, q.x, sum);
    sum = fmaf(p.y, q.y, sum);
  }
  return sum;
}

/// The score of a row less its bias, by 8 lanes that call it together. Valid in all of them.
__device__ float product(const __half* queries, std::size_t query, const __half* rows, std::size_t row,
                         std::size_t steps, unsigned lane) {
  const auto* q = reinterpret_cast<const unsigned char*>(queries);
  const auto* x = reinterpret_cast<const unsigned char*>(rows);
  float sum = 0;
#pragma unroll 6
  for (std::size_t chunk = lane; chunk < steps * kChunksPerRow; chunk += kChunksPerRow)
    sum = add_product(sum, *reinterpret_cast<const uint4*>(q + operand_offset(query, chunk, steps)),
                      *reinterpret_cast<const uint4*>(x + operand_offset(row, chunk, steps)));
  for (unsigned half = kChunksPerRow / 2; half > 0; half /= 2) sum += __shfl_xor_sync(kAllLanes, sum, half);
  return sum;
}

__device__ bool in_scope(const SettleTask& task, std::size_t query, std::size_t row) {
  const std::size_t own = task.first_row + query;
  return row < task.data.rows &&
         (task.scope == KnnScope::kAll || (task.scope == KnnScope::kOthers && row != own) ||
          (task.scope == KnnScope::kEarlier && row < own));
}

/// Row number of member `member` of a group.
__device__ unsigned row_of(const ScanPlan& plan, unsigned group, unsigned member) {
  const unsigned per_block = groups_per_block(plan.group);
  return group / per_block * kBlockCols + group_column(plan.group, group % per_block, member);
}

/// The result of a query from the sorted `nearest`, of which `n` are there.
template <class Block>
__device__ void write_result(const SettleTask& task, std::size_t query, const std::uint64_t* nearest,
                             unsigned n, const Block& block) {
  const float shift = task.metric == Metric::kCosine ? 1.0f : 0.0f;
  for (unsigned i = block.thread(); i < task.k; i += block.threads()) {
    const bool has = i < n && nearest[i] != kUnranked;
    task.ids[query * task.k + i] = has ? static_cast<std::int64_t>(nearest[i] & 0xffffffffu) : -1;
    task.distances[query * task.k + i] =
        has ? __fadd_rn(ordered_value(static_cast<std::uint32_t>(nearest[i] >> 32)), shift)
            : std::numeric_limits<float>::infinity();
  }
}

/// Distances with row numbers, or kUnranked where one overflowed. Valid in lane 0.
__device__ void ranked_distances(const SettleTask& task, std::size_t query,
                                 const std::uint32_t (&ids)[kAtOnce], unsigned lane,
                                 std::uint64_t (&out)[kAtOnce]) {
  float distances[kAtOnce];
  distances_to_rows(task.queries.rows + query * task.data.cols, task.data, task.metric, task.operand.norms,
                    ids, lane, distances);
#pragma unroll
  for (unsigned i = 0; i < kAtOnce; ++i)
    out[i] = distances[i] < std::numeric_limits<float>::infinity() ? ranked(distances[i], ids[i]) : kUnranked;
}

__device__ void leave_open(const SettleTask& task, std::size_t query) {
  task.open.list[atomicAdd(task.open.count, 1u)] = static_cast<std::uint32_t>(query);
}

template <unsigned kBlockThreads>
__global__ void __launch_bounds__(kBlockThreads)
    settle(const __grid_constant__ SettleTask task, const __grid_constant__ ScanPlan plan,
           const Minima minima, const Room room) {
  using Block = ThreadBlock<kBlockThreads>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ std::uint32_t scratch[Block::kWarps + 1];
  __shared__ std::uint32_t n_kept;
  Block block(scratch);
  const std::size_t query = blockIdx.x;
  Kept kept;
  kept.nearest = reinterpret_cast<std::uint64_t*>(shared);
  kept.keys = reinterpret_cast<std::uint32_t*>(kept.nearest + room.survivors);
  kept.bins = kept.keys + room.rows;
  kept.groups = kept.bins + kBins;

  const float slack = task.queries.slack[query];
  if (isnan(slack)) {
    for (unsigned i = block.thread(); i < task.k; i += kBlockThreads) {
      task.ids[query * task.k + i] = -1;
      task.distances[query * task.k + i] = slack;
    }
    if (block.thread() == 0 && task.stats != nullptr) atomicAdd(&task.stats->not_finite, 1ull);
    return;
  }
  if (isinf(slack)) {
    if (block.thread() == 0) leave_open(task, query);
    return;
  }

  // Spans, then groups.
  const std::size_t tiles = plan.tiles_for(task.first_row, query / plan.tile_rows);
  const auto n_spans = static_cast<unsigned>(plan.layout.spans(tiles));
  const std::uint32_t span_limit =
      raised(select_threshold(block, task.k, task.k, kept.bins,
                              [&](auto f) {
                                for (unsigned i = block.thread(); i < n_spans; i += kBlockThreads)
                                  f(ordered_key(minima.spans[span_place(i, query, minima.n)]));
                              }),
             slack);
  // Mostly about k groups pass the limit of the spans; where it is more, a limit of their own.
  const auto keep_groups = [&](std::uint32_t limit) {
    block.sync();
    if (block.thread() == 0) n_kept = 0;
    block.sync();
    for_groups(plan, tiles, minima, query, span_limit, block, [&](std::uint32_t key, unsigned group) {
      if (key > limit || key >= kMissingKey) return;
      const unsigned at = atomicAdd(&n_kept, 1u);
      if (at < room.rows / plan.group) kept.groups[at] = group;
    });
    block.sync();
    return n_kept;
  };
  const unsigned spare = task.k / 4 + 16;
  unsigned n_groups = keep_groups(span_limit);
  if (n_groups > task.k + spare)
    n_groups = keep_groups(raised(select_threshold(block, task.k, spare, kept.bins,
                                                   [&](auto f) {
                                                     for_groups(plan, tiles, minima, query, span_limit, block,
                                                                [&](std::uint32_t key, unsigned) { f(key); });
                                                   }),
                                  slack));
  if (n_groups > room.rows / plan.group) {
    if (block.thread() == 0) leave_open(task, query);
    return;
  }

  // Their members: 8 lanes to a row.
  const unsigned n_rows = n_groups * plan.group;
  const unsigned eighth = block.lane() / 8;
  const std::size_t steps = task.operand.depth / kDepthStep;
  for (unsigned first = block.warp() * 4; first < n_rows; first += Block::kWarps * 4) {
    const unsigned i = first + eighth;
    const bool exists = i < n_rows;
    const unsigned row = exists ? row_of(plan, kept.groups[i / plan.group], i % plan.group) : 0;
    const float score = task.operand.bias[row] + product(task.queries.values, query, task.operand.values, row,
                                                         steps, block.lane() % kChunksPerRow);
    if (exists && block.lane() % 8 == 0)
      kept.keys[i] = in_scope(task, query, row) ? ordered_key(score) : kMissingKey;
  }
  block.sync();
  const std::uint32_t limit =
      raised(select_threshold(block, task.k, 0, kept.bins,
                              [&](auto f) {
                                for (unsigned i = block.thread(); i < n_rows; i += kBlockThreads)
                                  f(kept.keys[i]);
                              }),
             slack);
  if (block.thread() == 0) n_kept = 0;
  block.sync();
  for (unsigned i = block.thread(); i < n_rows; i += kBlockThreads) {
    if (kept.keys[i] > limit || kept.keys[i] >= kMissingKey) continue;
    const unsigned at = atomicAdd(&n_kept, 1u);
    if (at < room.survivors) kept.nearest[at] = row_of(plan, kept.groups[i / plan.group], i % plan.group);
  }
  block.sync();
  const unsigned n = n_kept;
  if (n > room.survivors) {
    if (block.thread() == 0) leave_open(task, query);
    return;
  }

  // The canonical distances.
  const unsigned padded = power_of_two(n);
  for (unsigned i = n + block.thread(); i < padded; i += kBlockThreads) kept.nearest[i] = kUnranked;
  for (unsigned first = block.warp() * kAtOnce; first < n; first += Block::kWarps * kAtOnce) {
    std::uint32_t ids[kAtOnce];
    std::uint64_t entries[kAtOnce];
#pragma unroll
    for (unsigned i = 0; i < kAtOnce; ++i)
      ids[i] = static_cast<std::uint32_t>(kept.nearest[first + i < n ? first + i : first]);
    ranked_distances(task, query, ids, block.lane(), entries);
    __syncwarp();
#pragma unroll
    for (unsigned i = 0; i < kAtOnce; ++i)
      if (block.lane() == 0 && first + i < n) kept.nearest[first + i] = entries[i];
  }
  sort_keys(block, kept.nearest, padded);
  write_result(task, query, kept.nearest, n, block);
  if (block.thread() == 0 && task.stats != nullptr) {
    atomicAdd(&task.stats->certified, 1ull);
    atomicAdd(&task.stats->candidates, static_cast<unsigned long long>(n));
  }
}

/// Of the scans of open queries.
using Block = ThreadBlock<kThreads>;

/// Items: an open query by a segment of the rows.
__global__ void __launch_bounds__(kThreads)
    rescan(const __grid_constant__ SettleTask task, unsigned segments, std::uint64_t* partial) {
  __shared__ std::uint64_t keys[kTopRoom];
  __shared__ std::uint32_t scratch[Block::kWarps + 1], count;
  Block block(scratch);
  TopKeys<Block> best(block, keys, &count, task.k);
  const std::size_t n_items = std::size_t{*task.open.count} * segments;
  const std::size_t per_segment = (task.data.rows + segments - 1) / segments;
  for (std::size_t item = blockIdx.x; item < n_items; item += gridDim.x) {
    const std::size_t query = task.open.list[item / segments];
    const std::size_t begin = item % segments * per_segment;
    const std::size_t end = begin + per_segment < task.data.rows ? begin + per_segment : task.data.rows;
    best.start();
    for (std::size_t first = begin; first < end; first += kTopRound) {
      const std::size_t last = first + kTopRound < end ? first + kTopRound : end;
      for (std::size_t row = first + block.warp() * kAtOnce; row < last; row += Block::kWarps * kAtOnce) {
        std::uint32_t ids[kAtOnce];
        std::uint64_t entries[kAtOnce];
#pragma unroll
        for (unsigned i = 0; i < kAtOnce; ++i)
          ids[i] = static_cast<std::uint32_t>(row + i < last ? row + i : row);
        ranked_distances(task, query, ids, block.lane(), entries);
#pragma unroll
        for (unsigned i = 0; i < kAtOnce; ++i)
          if (block.lane() == 0 && row + i < last && in_scope(task, query, row + i)) best.offer(entries[i]);
      }
      best.settle();
    }
    const unsigned n = best.finish();
    for (unsigned i = block.thread(); i < task.k; i += kThreads)
      partial[item * task.k + i] = i < n ? keys[i] : kUnranked;
    block.sync();
  }
}

__global__ void __launch_bounds__(kThreads)
    merge_segments(const __grid_constant__ SettleTask task, unsigned segments, const std::uint64_t* partial) {
  __shared__ std::uint64_t keys[kTopRoom];
  __shared__ std::uint32_t scratch[Block::kWarps + 1], count;
  Block block(scratch);
  TopKeys<Block> best(block, keys, &count, task.k);
  const std::size_t n_keys = std::size_t{segments} * task.k;
  for (std::size_t item = blockIdx.x; item < *task.open.count; item += gridDim.x) {
    best.start();
    for (std::size_t first = 0; first < n_keys; first += kTopRound) {
      for (std::size_t i = first + block.thread(); i < first + kTopRound && i < n_keys; i += kThreads)
        best.offer(partial[item * n_keys + i]);
      best.settle();
    }
    const unsigned n = best.finish();
    write_result(task, task.open.list[item], keys, n, block);
    block.sync();
  }
  if (blockIdx.x == 0 && block.thread() == 0 && task.stats != nullptr)
    atomicAdd(&task.stats->scanned, static_cast<unsigned long long>(*task.open.count));
}

__global__ void __launch_bounds__(kThreads)
    write_missing(std::int64_t* ids, float* distances, std::size_t n) {
  for (std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * kThreads) {
    ids[i] = -1;
    distances[i] = std::numeric_limits<float>::infinity();
  }
}

}  // namespace

cudaError_t fill_missing(std::int64_t* ids, float* distances, std::size_t n, cudaStream_t stream) {
  constexpr std::size_t kMostBlocks = 1024;
  if (n == 0) return cudaSuccess;
  const std::size_t blocks = std::min((n + kThreads - 1) / kThreads, kMostBlocks);
  write_missing<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(ids, distances, n);
  return cudaGetLastError();
}

cudaError_t launch_settle(const SettleTask& task, const ScanPlan& plan, const Minima& minima,
                          cudaStream_t stream) {
  const Room room = task.k <= 128 ? Room{4096, 1024} : Room{8192, 2048};
  const std::size_t bytes = room.survivors * sizeof(std::uint64_t) +
                            (room.rows + kBins + room.rows / plan.group) * sizeof(std::uint32_t);
  const bool few = task.n_queries <= kFewQueries;
  const auto kernel = few ? settle<kManyThreads> : settle<kThreads>;
  const cudaError_t code =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (code != cudaSuccess) return code;
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(task.n_queries);
  config.blockDim = few ? kManyThreads : kThreads;
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, task, plan, minima, room);
}

cudaError_t launch_rescan(const SettleTask& task, unsigned segments, std::uint64_t* partial, int device,
                          cudaStream_t stream) {
  int processors = 0;
  const cudaError_t code = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (code != cudaSuccess) return code;
  const auto blocks = static_cast<unsigned>(processors) * 4;
  rescan<<<blocks, kThreads, 0, stream>>>(task, segments, partial);
  merge_segments<<<blocks, kThreads, 0, stream>>>(task, segments, partial);
  return cudaGetLastError();
}

}  // namespace whimbrel::cuda
