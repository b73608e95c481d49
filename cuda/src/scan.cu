// The portable scan: mma.sync m16n8k16 in fp16 with float sums, operands brought by cp.async in a ring of
// stages, minima taken in registers.
//
// A sum starts at the row's bias and the queries are negated, so that what the unit leaves is the score.
#include "scan.cuh"

#include <algorithm>
#include <limits>

#include "launch.cuh"
#include "mma.cuh"
#include "scan_kernel.cuh"

namespace whimbrel::cuda {
namespace {

template <unsigned kWarpsM_, unsigned kWarpsN_, unsigned kStages_, bool kResident_, unsigned kBlocks_>
struct Shape {
  static constexpr unsigned kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_, kBlocks = kBlocks_;
  static constexpr bool kResident = kResident_;  ///< the queries of an item stay in shared memory
  static constexpr unsigned kThreads = kWarpsM * kWarpsN * kLanes;
  static constexpr unsigned kRows = kWarpsM * kWarpRows, kCols = kWarpsN * kBlockCols;
  static constexpr unsigned kLeftBytes = kRows * kStepBytes, kRightBytes = kCols * kStepBytes;
  static constexpr unsigned kBiasBytes = kCols * 4;
  static constexpr unsigned kStageBytes = kRightBytes + kBiasBytes + (kResident ? 0 : kLeftBytes);

  static constexpr std::size_t shared_bytes(std::size_t steps) {
    return kStages * kStageBytes + (kResident ? steps * kLeftBytes : 0);
  }
};
using Resident = Shape<4, 2, 4, true, 1>;
using Streamed = Shape<4, 2, 4, false, 1>;
using Narrow = Shape<1, 8, 3, false, 1>;
using Small = Shape<2, 2, 3, false, 1>;

/// A step of `kRows` rows of an operand into shared memory. `from`: the step's run of the first 64 rows.
template <unsigned kRows, unsigned kThreads>
__device__ void copy_step(unsigned to, const unsigned char* from, unsigned steps) {
  constexpr unsigned kChunks = kBlockBytes / kChunkBytes;
  static_assert(kRows / 64 * kChunks % kThreads == 0);
#pragma unroll
  for (unsigned i = 0; i < kRows / 64 * kChunks / kThreads; ++i) {
    const unsigned at = i * kThreads + threadIdx.x;
    copy_async(to + at * kChunkBytes,
               from + std::size_t{at / kChunks} * steps * kBlockBytes + at % kChunks * kChunkBytes);
  }
}

/// The sums of a warp: [m16 tile][n8 tile][register].
constexpr unsigned kTilesM = kWarpRows / 16, kTilesN = kBlockCols / 8;
using Sums = float[kTilesM][kTilesN][4];

__device__ inline void start_sums(Sums& sums, const float* bias, unsigned lane) {
#pragma unroll
  for (unsigned n = 0; n < kTilesN; ++n) {
    const float2 b = *reinterpret_cast<const float2*>(bias + block_column(lane, n, 0));
#pragma unroll
    for (unsigned m = 0; m < kTilesM; ++m) {
      sums[m][n][0] = sums[m][n][2] = b.x;
      sums[m][n][1] = sums[m][n][3] = b.y;
    }
  }
}

struct Fragments {
  std::uint32_t left[kTilesM][4], right[kTilesN / 2][4];

  /// Of 16 of the 64 deep: number k of a step whose first k starts at these addresses, the lane's own.
  __device__ void load(unsigned left_at, unsigned right_at, unsigned k) {
#pragma unroll
    for (unsigned m = 0; m < kTilesM; ++m) load_tiles(left[m], deeper(left_at, k) + m * 16 * kStepBytes);
#pragma unroll
    for (unsigned n = 0; n < kTilesN / 2; ++n)
      load_tiles(right[n], deeper(right_at, k) + n * 16 * kStepBytes);
  }
};

/// One step: 64 deep. The addresses are the lane's, of the first rows of the warp's operands.
__device__ inline void multiply_step(Sums& sums, unsigned left_at, unsigned right_at) {
  Fragments fragments[2];
  fragments[0].load(left_at, right_at, 0);
#pragma unroll
  for (unsigned k = 0; k < kDepthStep / 16; ++k) {
    if (k + 1 < kDepthStep / 16) fragments[(k + 1) % 2].load(left_at, right_at, k + 1);
    const Fragments& f = fragments[k % 2];
#pragma unroll
    for (unsigned m = 0; m < kTilesM; ++m)
#pragma unroll
      for (unsigned n = 0; n < kTilesN; ++n)
        multiply_add(sums[m][n], f.left[m], f.right[n / 2][n % 2 * 2], f.right[n / 2][n % 2 * 2 + 1]);
  }
}

/// Rows that a query must not find get the score +inf. `ahead`: number of the block's first row less that of
/// the warp's first query.
__device__ inline void mask(Sums& sums, KnnScope scope, int ahead, unsigned lane) {
  if (!mask_touches(scope, ahead, kWarpRows)) return;
  const int own = ahead + static_cast<int>(block_column(lane, 0, 0)) - static_cast<int>(lane / 4);
#pragma unroll
  for (unsigned m = 0; m < kTilesM; ++m)
#pragma unroll
    for (unsigned n = 0; n < kTilesN; ++n)
#pragma unroll
      for (unsigned r = 0; r < 4; ++r)
        if (masked(scope, own + static_cast<int>(n * 8 + r % 2) - static_cast<int>(m * 16 + r / 2 * 8)))
          sums[m][n][r] = std::numeric_limits<float>::infinity();
}

template <class S, unsigned kGroup>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) scan(const __grid_constant__ ScanTask task) {
  extern __shared__ __align__(128) unsigned char shared[];
  const unsigned lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const unsigned warp_m = warp / S::kWarpsN, warp_n = warp % S::kWarpsN;
  const unsigned ring = shared_address(shared);
  const unsigned resident = ring + S::kStages * S::kStageBytes;
  const unsigned left_lane = warp_m * kWarpRows * kStepBytes + swizzled(left_row(lane), left_chunk(lane));
  const unsigned right_lane = warp_n * kBlockCols * kStepBytes + swizzled(right_row(lane), right_chunk(lane));
  const unsigned n_items = task.items_per_query_tile * task.query_tiles;
  // Bytes of a tile's rows and of its queries, all steps.
  const std::size_t tile_bytes = std::size_t{S::kCols / 64} * task.steps * kBlockBytes;
  const std::size_t query_tile_bytes = std::size_t{S::kRows / 64} * task.steps * kBlockBytes;

  wait_for_previous();
  for (unsigned number = blockIdx.x; number < n_items; number += gridDim.x) {
    const ScanItem item(task, number);
    if (item.n_tiles == 0) continue;
    const unsigned n_steps = item.n_tiles * task.steps;
    const unsigned char* queries = task.queries + item.query_tile * query_tile_bytes;
    // What the next step loads.
    const unsigned char* rows = task.rows + item.first_tile * tile_bytes;
    const float* bias = task.bias + std::size_t{item.first_tile} * S::kCols;
    unsigned load_k = 0, loaded = 0;
    const auto load_next = [&] {
      if (loaded < n_steps) {
        const unsigned stage = ring + loaded % S::kStages * S::kStageBytes;
        copy_step<S::kCols, S::kThreads>(stage, rows + load_k * kBlockBytes, task.steps);
        if (load_k == 0 && threadIdx.x < S::kBiasBytes / kChunkBytes)
          copy_async(stage + S::kRightBytes + threadIdx.x * kChunkBytes, bias + threadIdx.x * 4);
        if constexpr (!S::kResident)
          copy_step<S::kRows, S::kThreads>(stage + S::kRightBytes + S::kBiasBytes,
                                           queries + load_k * kBlockBytes, task.steps);
        ++loaded;
        if (++load_k == task.steps) {
          load_k = 0;
          rows += tile_bytes;
          bias += S::kCols;
        }
      }
      commit_copies();  // an empty group at the end, so that the count below stays right
    };

    __syncthreads();  // everyone is done with the last item
    if constexpr (S::kResident)
      for (unsigned k = 0; k < task.steps; ++k)
        copy_step<S::kRows, S::kThreads>(resident + k * S::kLeftBytes, queries + k * kBlockBytes, task.steps);
#pragma unroll
    for (unsigned s = 0; s + 1 < S::kStages; ++s) load_next();

    Sums sums;
    float span_minima[2 * kTilesM];
#pragma unroll
    for (float& span : span_minima) span = std::numeric_limits<float>::infinity();
    unsigned k = 0, tile = 0;
    for (unsigned step = 0; step < n_steps; ++step) {
      wait_copies<static_cast<int>(S::kStages) - 2>();
      __syncthreads();
      load_next();
      const unsigned offset = step % S::kStages * S::kStageBytes;
      const unsigned stage = ring + offset;
      if (k == 0)
        start_sums(sums,
                   reinterpret_cast<const float*>(shared + offset + S::kRightBytes) + warp_n * kBlockCols,
                   lane);
      const unsigned left =
          S::kResident ? resident + k * S::kLeftBytes : stage + S::kRightBytes + S::kBiasBytes;
      multiply_step(sums, left + left_lane, stage + right_lane);
      if (++k < task.steps) continue;
      k = 0;

      // The scores of a tile are complete.
      const unsigned block = (item.first_tile + tile) * S::kWarpsN + warp_n;
      const unsigned query = item.query_tile * S::kRows + warp_m * kWarpRows;
      mask(sums, task.plan.scope,
           static_cast<int>(block * kBlockCols) - static_cast<int>(task.first_row + query), lane);
      const bool span_ends = tile + 1 == item.n_tiles || (tile + 1) % task.plan.layout.span_tiles == 0;
      const std::size_t span_number = task.plan.layout.span_of(item.first_tile + tile, warp_n);
#pragma unroll
      for (unsigned m = 0; m < kTilesM; ++m)
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const unsigned own = query + m * 16 + half * 8 + lane / 4;
          const bool written = own < task.n_queries;
          float& span = span_minima[2 * m + half];
          write_minima<kGroup>(
              task.groups + group_place(block, own, task.n, kGroup), lane,
              [&](unsigned i) { return sums[m][i / 2][2 * half + i % 2]; }, written, span);
          if (span_ends) end_span(task.spans + span_place(span_number, own, task.n), lane, written, span);
        }
      ++tile;
    }
    wait_copies<0>();
  }
}

template <class S>
cudaError_t launch(const ScanTask& task, const DeviceLimits& limits, cudaStream_t stream) {
  const auto kernel = task.plan.group == 4 ? scan<S, 4> : scan<S, 16>;
  const std::size_t bytes = S::shared_bytes(task.steps);
  cudaError_t code =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (code != cudaSuccess) return code;
  int blocks = 0;
  code = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(S::kThreads), bytes);
  if (code != cudaSuccess) return code;
  const unsigned grid = std::min(task.items_per_query_tile * task.query_tiles,
                                 limits.processors * static_cast<unsigned>(std::max(blocks, 1)));
  return launch_next(kernel, limits.hopper, grid, S::kThreads, bytes, stream, task);
}

template <class S>
void set_shape(ScanPlan& plan) {
  plan.tile_rows = S::kRows;
  plan.layout.warps = S::kWarpsN;
}

}  // namespace

void set_kernel(ScanPlan& plan, ScanKernel kernel) {
  plan.kernel = kernel;
  switch (kernel) {
    case ScanKernel::kResident:
      return set_shape<Resident>(plan);
    case ScanKernel::kStreamed:
      return set_shape<Streamed>(plan);
    case ScanKernel::kNarrow:
      return set_shape<Narrow>(plan);
    case ScanKernel::kSmall:
      return set_shape<Small>(plan);
    default:
      return set_hopper_shape(plan);
  }
}

cudaError_t read_limits(DeviceLimits& limits) {
  int device = 0, processors = 0, shared = 0;
  cudaError_t code = cudaGetDevice(&device);
  if (code == cudaSuccess) code = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (code == cudaSuccess)
    code = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (code != cudaSuccess) return code;
  limits = {static_cast<unsigned>(processors), static_cast<std::size_t>(shared), hopper_available(device)};
  return cudaSuccess;
}

void plan_scan(std::size_t n_queries, std::size_t n_rows, std::size_t depth, std::size_t k, KnnScope scope,
               const DeviceLimits& limits, ScanPlan& plan) {
  const std::size_t steps = depth / kDepthStep;
  const auto fits = [&](std::size_t bytes) { return bytes <= limits.shared; };

  plan.scope = scope;
  const bool few = n_queries <= Narrow::kRows;
  const auto hopper_takes = [&](ScanKernel kernel) {
    return limits.hopper && hopper_fits(kernel, steps, limits.shared);
  };
  if (few && hopper_takes(ScanKernel::kHopperNarrow))
    set_kernel(plan, ScanKernel::kHopperNarrow);
  else if (few && fits(Narrow::shared_bytes(steps)))
    set_kernel(plan, ScanKernel::kNarrow);
  else if (hopper_takes(ScanKernel::kHopperResident))
    set_kernel(plan, ScanKernel::kHopperResident);
  else if (hopper_takes(ScanKernel::kHopperStreamed))
    set_kernel(plan, ScanKernel::kHopperStreamed);
  else if (fits(Resident::shared_bytes(steps)))
    set_kernel(plan, ScanKernel::kResident);
  else if (fits(Streamed::shared_bytes(steps)))
    set_kernel(plan, ScanKernel::kStreamed);
  else
    set_kernel(plan, ScanKernel::kSmall);
  // Fewer members to look at against more minima to write.
  // bench_knn --hopper on an H200: at k = 100 the members cost less up to some hundred dimensions.
  constexpr std::size_t kFewNeighbors = 32, kMoreNeighbors = 128, kMoreDepth = 512;
  const bool sixteen = k <= kFewNeighbors || (k <= kMoreNeighbors && depth <= kMoreDepth);
  plan.group = !few && sixteen ? 16 : 4;
  set_runs(plan, n_queries, n_rows, k, limits.processors);
}

void set_runs(ScanPlan& plan, std::size_t n_queries, std::size_t n_rows, std::size_t k,
              std::size_t processors) {
  constexpr std::size_t kLongest = 32, kItemsPerProcessor = 12, kLongestSpan = 8;
  plan.tiles = (n_rows + plan.tile_cols() - 1) / plan.tile_cols();
  const std::size_t query_tiles = (n_queries + plan.tile_rows - 1) / plan.tile_rows;
  // What is read of the minima is least where all spans are as many as the groups of the k spans kept.
  const std::size_t blocks = plan.tiles * plan.layout.warps;
  std::size_t span = 1;
  while (span < kLongestSpan && 4 * span * span * k * groups_per_block(plan.group) <= blocks) span *= 2;
  // Long runs hide the start of an item; there must be enough of them to occupy the device evenly.
  std::size_t run = query_tiles * plan.tiles / (processors * kItemsPerProcessor);
  run = run < 1 ? 1 : run < kLongest ? run : kLongest;
  if (query_tiles == 1) {  // the run that occupies it most evenly
    const auto busiest = [&](std::size_t tiles) {
      const std::size_t items = (plan.tiles + tiles - 1) / tiles;
      return (items + processors - 1) / processors * tiles;
    };
    run = 1;
    for (std::size_t tiles = 2; tiles <= kLongestSpan; ++tiles)
      if (busiest(tiles) <= busiest(run)) run = tiles;
    span = span >= run ? run : 1;
  }
  while (span > run) span /= 2;
  plan.layout.span_tiles = static_cast<unsigned>(span);
  plan.item_tiles = static_cast<unsigned>(run / span * span);
}

cudaError_t launch_scan(const ScanPlan& plan, const ScanOperand& data, const __half* queries,
                        std::size_t n_queries, std::size_t first_row, const Minima& out,
                        const DeviceLimits& limits, cudaStream_t stream) {
  ScanTask task{};
  task.queries = reinterpret_cast<const unsigned char*>(queries);
  task.rows = reinterpret_cast<const unsigned char*>(data.values);
  task.bias = data.bias;
  task.steps = static_cast<unsigned>(data.depth / kDepthStep);
  task.query_tiles = static_cast<unsigned>((n_queries + plan.tile_rows - 1) / plan.tile_rows);
  task.n_queries = static_cast<unsigned>(n_queries);
  task.first_row = static_cast<unsigned>(first_row);
  task.plan = plan;
  task.groups = out.groups;
  task.spans = out.spans;
  task.n = static_cast<unsigned>(out.n);
  if (task.query_tiles == 0) return cudaSuccess;
  const std::size_t tiles = plan.tiles_for(first_row, task.query_tiles - 1);
  task.items_per_query_tile = static_cast<unsigned>((tiles + plan.item_tiles - 1) / plan.item_tiles);
  if (task.items_per_query_tile == 0) return cudaSuccess;
  switch (plan.kernel) {
    case ScanKernel::kResident:
      return launch<Resident>(task, limits, stream);
    case ScanKernel::kStreamed:
      return launch<Streamed>(task, limits, stream);
    case ScanKernel::kNarrow:
      return launch<Narrow>(task, limits, stream);
    case ScanKernel::kSmall:
      return launch<Small>(task, limits, stream);
    default:
      break;
  }
  return launch_hopper_scan(task, limits, stream);
}

}  // namespace whimbrel::cuda
