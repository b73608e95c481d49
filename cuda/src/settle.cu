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
#include "launch.cuh"
#include "rows.cuh"
#include "thread_block.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kThreads = 256;
/// Settling a few queries: more threads for each.
constexpr unsigned kManyThreads = 512;
constexpr std::size_t kFewQueries = 128;
/// Rows that a warp, or the part of it that shares a row, computes at once.
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

/// f(key, i) for this thread's share of n keys, key i given by key(i): several under way at once.
template <class Block, class Key, class F>
__device__ void for_keys(const Block& block, unsigned n, Key key, F f) {
  constexpr unsigned kUnderWay = 8;
  for (unsigned base = block.thread(); base < n; base += kUnderWay * block.threads()) {
    std::uint32_t keys[kUnderWay];
#pragma unroll
    for (unsigned j = 0; j < kUnderWay; ++j) {
      const unsigned i = base + j * block.threads();
      keys[j] = i < n ? key(i) : kMissingKey;
    }
#pragma unroll
    for (unsigned j = 0; j < kUnderWay; ++j)
      if (keys[j] < kMissingKey) f(keys[j], base + j * block.threads());
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

/// Scores of rows less their biases, by 8 lanes that call it together. Valid in all of them.
template <unsigned N>
__device__ void products(const __half* queries, std::size_t query, const __half* rows,
                         const unsigned (&ids)[N], std::size_t steps, unsigned lane, float (&sums)[N]) {
  // A chunk of the next step is a block further (operand_offset).
  const unsigned char* q =
      reinterpret_cast<const unsigned char*>(queries) + operand_offset(query, lane, steps);
  const unsigned char* x[N];
#pragma unroll
  for (unsigned n = 0; n < N; ++n) {
    x[n] = reinterpret_cast<const unsigned char*>(rows) + operand_offset(ids[n], lane, steps);
    sums[n] = 0;
  }
#pragma unroll 2
  for (std::size_t at = 0; at < steps * kBlockBytes; at += kBlockBytes) {
    const uint4 chunk = *reinterpret_cast<const uint4*>(q + at);
#pragma unroll
    for (unsigned n = 0; n < N; ++n)
      sums[n] = add_product(sums[n], chunk, *reinterpret_cast<const uint4*>(x[n] + at));
  }
#pragma unroll
  for (unsigned n = 0; n < N; ++n)
    for (unsigned half = kChunksPerRow / 2; half > 0; half /= 2)
      sums[n] += __shfl_xor_sync(kAllLanes, sums[n], half);
}

__device__ bool in_scope(const SettleTask& task, std::size_t query, std::size_t row) {
  const std::size_t own = task.first_row + query;
  return row < task.data.rows &&
         (task.scope == KnnScope::kAll || (task.scope == KnnScope::kOthers && row != own) ||
          (task.scope == KnnScope::kEarlier && row < own));
}

/// Row number of a member: number `at` of the members of the groups listed.
template <unsigned kGroup>
__device__ unsigned row_of(const std::uint32_t* groups, unsigned at) {
  constexpr unsigned kPerBlock = groups_per_block(kGroup);
  const unsigned group = groups[at / kGroup];
  return group / kPerBlock * kBlockCols + group_column(kGroup, group % kPerBlock, at % kGroup);
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

__device__ std::uint32_t span_key(const Minima& minima, std::size_t query, unsigned span) {
  return ordered_key(minima.spans[span_place(span, query, minima.n)]);
}

__device__ void leave_open(const SettleTask& task, std::size_t query) {
  task.open.list[atomicAdd(task.open.count, 1u)] = static_cast<std::uint32_t>(query);
}

template <unsigned kBlockThreads, unsigned kGroup>
__global__ void __launch_bounds__(kBlockThreads, 768 / kBlockThreads)
    settle(const __grid_constant__ SettleTask task, const __grid_constant__ ScanPlan plan,
           const Minima minima, const Room room) {
  using Block = ThreadBlock<kBlockThreads>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ std::uint32_t scratch[Block::kWarps + 1];
  __shared__ std::uint32_t n_kept;
  Block block(scratch);
  const std::size_t query = blockIdx.x;
  Kept kept;
  wait_for_previous();
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

  // Spans, then groups. Room that later steps need holds the keys of the spans and the list of those kept.
  const std::size_t tiles = plan.tiles_for(task.first_row, query / plan.tile_rows);
  const auto n_spans = static_cast<unsigned>(plan.layout.spans(tiles));
  const bool cached = n_spans <= room.rows;
  if (cached) {
    for (unsigned i = block.thread(); i < n_spans; i += kBlockThreads) kept.keys[i] = kMissingKey;
    for_keys(
        block, n_spans, [&](unsigned i) { return span_key(minima, query, i); },
        [&](std::uint32_t key, unsigned i) { kept.keys[i] = key; });
    block.sync();
  }
  const auto for_spans = [&](auto f) {
    for_keys(
        block, n_spans, [&](unsigned i) { return cached ? kept.keys[i] : span_key(minima, query, i); }, f);
  };
  const std::uint32_t span_limit =
      raised(select_threshold(block, task.k, task.k, kept.bins,
                              [&](auto f) { for_spans([&](std::uint32_t key, unsigned) { f(key); }); }),
             slack);
  auto* spans = reinterpret_cast<std::uint32_t*>(kept.nearest);
  const unsigned span_room = room.survivors * 2;
  if (block.thread() == 0) n_kept = 0;
  block.sync();
  for_spans([&](std::uint32_t key, unsigned span) {
    if (key > span_limit) return;
    const unsigned at = atomicAdd(&n_kept, 1u);
    if (at < span_room) spans[at] = span;
  });
  block.sync();
  const unsigned n_kept_spans = n_kept;
  if (n_kept_spans > span_room) {
    if (block.thread() == 0) leave_open(task, query);
    return;
  }
  constexpr unsigned kPerBlock = groups_per_block(kGroup);
  const unsigned per_span = kPerBlock * plan.layout.span_tiles;
  const auto for_groups = [&](auto f) {
    const auto block_of = [&](unsigned i) {
      return static_cast<unsigned>(plan.layout.block_of(spans[i / per_span], i % per_span / kPerBlock));
    };
    for_keys(
        block, n_kept_spans * per_span,
        [&](unsigned i) {
          const unsigned at = block_of(i);
          return at < tiles * plan.layout.warps
                     ? ordered_key(minima.groups[group_place(at, query, minima.n, kGroup) + i % kPerBlock])
                     : kMissingKey;
        },
        [&](std::uint32_t key, unsigned i) { f(key, block_of(i) * kPerBlock + i % kPerBlock); });
  };
  // Mostly about k groups pass the limit of the spans; where it is more, a limit of their own.
  const auto keep_groups = [&](std::uint32_t limit) {
    block.sync();
    if (block.thread() == 0) n_kept = 0;
    block.sync();
    for_groups([&](std::uint32_t key, unsigned group) {
      if (key > limit) return;
      const unsigned at = atomicAdd(&n_kept, 1u);
      if (at < room.rows / kGroup) kept.groups[at] = group;
    });
    block.sync();
    return n_kept;
  };
  const unsigned spare = task.k / 4 + 16;
  unsigned n_groups = keep_groups(span_limit);
  if (n_groups > task.k + spare)
    n_groups = keep_groups(
        raised(select_threshold(block, task.k, spare, kept.bins,
                                [&](auto f) { for_groups([&](std::uint32_t key, unsigned) { f(key); }); }),
               slack));
  if (n_groups > room.rows / kGroup) {
    if (block.thread() == 0) leave_open(task, query);
    return;
  }

  // Their members: 8 lanes to a row, several rows at once.
  const unsigned n_rows = n_groups * kGroup;
  const unsigned lane = block.lane() % kChunksPerRow, eighth = block.lane() / kChunksPerRow;
  const std::size_t steps = task.operand.depth / kDepthStep;
  constexpr unsigned kWarpRowsAtOnce = kLanes / kChunksPerRow * kAtOnce;
  for (unsigned first = block.warp() * kWarpRowsAtOnce; first < n_rows;
       first += Block::kWarps * kWarpRowsAtOnce) {
    unsigned ids[kAtOnce];
    float scores[kAtOnce];
#pragma unroll
    for (unsigned j = 0; j < kAtOnce; ++j) {
      const unsigned i = first + eighth * kAtOnce + j;
      ids[j] = row_of<kGroup>(kept.groups, i < n_rows ? i : first);
    }
    products(task.queries.values, query, task.operand.values, ids, steps, lane, scores);
#pragma unroll
    for (unsigned j = 0; j < kAtOnce; ++j) {
      const unsigned i = first + eighth * kAtOnce + j;
      if (i < n_rows && lane == 0)
        kept.keys[i] =
            in_scope(task, query, ids[j]) ? ordered_key(task.operand.bias[ids[j]] + scores[j]) : kMissingKey;
    }
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
    if (at < room.survivors) kept.nearest[at] = row_of<kGroup>(kept.groups, i);
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
  wait_for_previous();
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
  wait_for_previous();
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
                          const DeviceLimits& limits, cudaStream_t stream) {
  const Room room = task.k <= 128 ? Room{4096, 1024} : Room{8192, 2048};
  const std::size_t bytes = room.survivors * sizeof(std::uint64_t) +
                            (room.rows + kBins + room.rows / plan.group) * sizeof(std::uint32_t);
  const bool few = task.n_queries <= kFewQueries;
  const bool fours = plan.group == 4;
  const auto kernel = few ? (fours ? settle<kManyThreads, 4> : settle<kManyThreads, 16>)
                          : (fours ? settle<kThreads, 4> : settle<kThreads, 16>);
  const cudaError_t code =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (code != cudaSuccess) return code;
  return launch_next(kernel, limits.hopper, static_cast<unsigned>(task.n_queries),
                     few ? kManyThreads : kThreads, bytes, stream, task, plan, minima, room);
}

cudaError_t launch_rescan(const SettleTask& task, unsigned segments, std::uint64_t* partial,
                          const DeviceLimits& limits, cudaStream_t stream) {
  const unsigned blocks = limits.processors * 4;
  const cudaError_t scanned =
      launch_next(rescan, limits.hopper, blocks, kThreads, 0, stream, task, segments, partial);
  if (scanned != cudaSuccess) return scanned;
  return launch_next(merge_segments, limits.hopper, blocks, kThreads, 0, stream, task, segments, partial);
}

}  // namespace whimbrel::cuda
