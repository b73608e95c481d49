// The scan for Hopper: wgmma m64n128k16 in fp16 with float sums, operands brought by bulk copies.
//
// One warp copies; two warpgroups of 128 threads multiply, 128 queries each against the same 128 rows, and
// take minima. What is copied lies in memory as the unit wants it (scan_layout.hpp), so a copy is a run of
// bytes and needs no tensor map. Where the queries of an item fit into shared memory they stay there. The
// warpgroups share nothing but the ring of stages, so that one can multiply while the other takes minima.
#include <limits>

#include "launch.cuh"
#include "scan_kernel.cuh"
#include "scan_layout.hpp"
#include "wgmma.cuh"

// Compiled for other devices too, where the kernel is empty and what it would use is unused.
#pragma nv_diag_suppress 177

namespace whimbrel::cuda {
namespace {

constexpr unsigned kConsumers = 2, kGroupThreads = 128, kThreads = (kConsumers + 1) * kGroupThreads;
/// What a warpgroup multiplies: m64 tiles by n128, which is 2 blocks of columns.
constexpr unsigned kUnitCols = 128, kBlocks = kUnitCols / kBlockCols;
constexpr unsigned kMaxStages = 8;
/// Registers of a thread: 128 (168 in the code that copies) * 40 + 256 * 232 = all there are.
constexpr unsigned kCopyRegisters = 40, kMultiplyRegisters = 232;

/// The wide tile is 256 queries by 128 rows, each warpgroup with queries of its own; the narrow one 64 by
/// 256, each warpgroup with rows of its own.
template <bool kResident_, bool kNarrow_>
struct Shape {
  static constexpr bool kResident = kResident_, kNarrow = kNarrow_;
  static constexpr unsigned kTilesM = kNarrow ? 1 : 2;  ///< of a warpgroup
  static constexpr unsigned kTileRows = kNarrow ? 64 : kConsumers * kTilesM * 64;
  static constexpr unsigned kTileCols = kNarrow ? kConsumers * kUnitCols : kUnitCols;
  static constexpr unsigned kLeftBytes = kTileRows / 64 * kBlockBytes,
                            kRightBytes = kTileCols / 64 * kBlockBytes;
  static constexpr unsigned kBiasBytes = kTileCols * 4,
                            kBiasRoom = 1024;  // keeps the alignment of the swizzle
  static constexpr unsigned kStageBytes = kRightBytes + kBiasRoom + (kResident ? 0 : kLeftBytes);
  static constexpr unsigned kBarrierBytes = (2 * kMaxStages + 2) * 8;

  static constexpr std::size_t shared_bytes(std::size_t stages, std::size_t steps) {
    return stages * kStageBytes + (kResident ? steps * kLeftBytes : 0) + kBarrierBytes;
  }
  /// As many stages as fit, at most kMaxStages; 0 where the queries leave no room for 3.
  static std::size_t stages(std::size_t steps, std::size_t shared) {
    const std::size_t fixed = shared_bytes(0, steps);
    const std::size_t n = fixed < shared ? (shared - fixed) / kStageBytes : 0;
    return n < 3 ? 0 : n < kMaxStages ? n : kMaxStages;
  }
};

struct Barriers {
  unsigned begin;
  __device__ unsigned full(unsigned stage) const { return begin + stage * 8; }
  __device__ unsigned empty(unsigned stage) const { return begin + (kMaxStages + stage) * 8; }
  __device__ unsigned queries_full() const { return begin + 2 * kMaxStages * 8; }
  __device__ unsigned queries_empty() const { return begin + (2 * kMaxStages + 1) * 8; }
};

/// A place in the ring, and how often it was passed, modulo 2.
struct Ring {
  unsigned stages, stage = 0, parity = 0;
  __device__ void advance() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1u;
    }
  }
};

template <class S>
__device__ void copy_items(const ScanTask& task, unsigned shared, unsigned resident, const Barriers& barriers,
                           unsigned stages) {
  const std::size_t tile_bytes = std::size_t{S::kTileCols / 64} * task.steps * kBlockBytes;
  const std::size_t query_tile_bytes = std::size_t{S::kTileRows / 64} * task.steps * kBlockBytes;
  const unsigned n_items = task.items_per_query_tile * task.query_tiles;
  Ring ring{stages};
  unsigned queries_parity = 0;
  for (unsigned number = blockIdx.x; number < n_items; number += gridDim.x) {
    const ScanItem item(task, number);
    if (item.n_tiles == 0) continue;
    const unsigned char* queries = task.queries + item.query_tile * query_tile_bytes;
    if constexpr (S::kResident) {
      barrier_wait(barriers.queries_empty(), queries_parity ^ 1u);
      barrier_expect(barriers.queries_full(), task.steps * S::kLeftBytes);
      const unsigned block_bytes = task.steps * kBlockBytes;
      for (unsigned b = 0; b < S::kTileRows / 64; ++b)
        copy_bulk(resident + b * block_bytes, queries + std::size_t{b} * block_bytes, block_bytes,
                  barriers.queries_full());
      queries_parity ^= 1u;
    }
    const unsigned char* rows = task.rows + item.first_tile * tile_bytes;
    const float* bias = task.bias + std::size_t{item.first_tile} * S::kTileCols;
    for (unsigned tile = 0; tile < item.n_tiles; ++tile, rows += tile_bytes, bias += S::kTileCols)
      for (unsigned k = 0; k < task.steps; ++k) {
        const unsigned stage = shared + ring.stage * S::kStageBytes, full = barriers.full(ring.stage);
        barrier_wait(barriers.empty(ring.stage), ring.parity ^ 1u);
        barrier_expect(full,
                       S::kRightBytes + (k == 0 ? S::kBiasBytes : 0) + (S::kResident ? 0 : S::kLeftBytes));
        for (unsigned b = 0; b < S::kTileCols / 64; ++b)
          copy_bulk(stage + b * kBlockBytes, rows + (std::size_t{b} * task.steps + k) * kBlockBytes,
                    kBlockBytes, full);
        if (k == 0) copy_bulk(stage + S::kRightBytes, bias, S::kBiasBytes, full);
        if constexpr (!S::kResident)
          for (unsigned b = 0; b < S::kTileRows / 64; ++b)
            copy_bulk(stage + S::kRightBytes + S::kBiasRoom + b * kBlockBytes,
                      queries + (std::size_t{b} * task.steps + k) * kBlockBytes, kBlockBytes, full);
        ring.advance();
      }
  }
}

/// A thread's sums: of m64 tile m, value n8 tile * 4 + half * 2 + i. As in the portable scan, a thread has of
/// every 8 columns two, for rows lane / 4 and lane / 4 + 8 of its warp's 16.
template <class S>
using Sums = float[S::kTilesM][64];

template <class S, unsigned kGroup>
__device__ void multiply_items(const ScanTask& task, const unsigned char* shared_bytes, unsigned shared,
                               unsigned resident, const Barriers& barriers, unsigned stages) {
  const unsigned consumer = threadIdx.x / kGroupThreads - 1;
  const unsigned warp = threadIdx.x % kGroupThreads / kLanes, lane = threadIdx.x % kLanes;
  // Of the tile: the warpgroup's first 64 queries, by number, and its first column.
  const unsigned first_block = S::kNarrow ? 0 : consumer * S::kTilesM;
  const unsigned first_col = S::kNarrow ? consumer * kUnitCols : 0;
  const unsigned n_items = task.items_per_query_tile * task.query_tiles;
  Ring ring{stages};
  unsigned queries_parity = 0;

  for (unsigned number = blockIdx.x; number < n_items; number += gridDim.x) {
    const ScanItem item(task, number);
    if (item.n_tiles == 0) continue;
    if constexpr (S::kResident) {
      barrier_wait(barriers.queries_full(), queries_parity);
      queries_parity ^= 1u;
    }
    float span_minima[S::kTilesM * 2 * kBlocks];
#pragma unroll
    for (float& span : span_minima) span = std::numeric_limits<float>::infinity();
    for (unsigned tile = 0; tile < item.n_tiles; ++tile) {
      Sums<S> sums;
      barrier_wait(barriers.full(ring.stage), ring.parity);
      const auto* bias =
          reinterpret_cast<const float*>(shared_bytes + ring.stage * S::kStageBytes + S::kRightBytes) +
          first_col;
#pragma unroll
      for (unsigned n = 0; n < kUnitCols / 8; ++n) {
        const float2 b = *reinterpret_cast<const float2*>(bias + block_column(lane, n, 0));
#pragma unroll
        for (unsigned m = 0; m < S::kTilesM; ++m) {
          sums[m][4 * n] = sums[m][4 * n + 2] = b.x;
          sums[m][4 * n + 1] = sums[m][4 * n + 3] = b.y;
        }
      }
      unsigned last_stage = 0;
      for (unsigned k = 0; k < task.steps; ++k) {
        if (k > 0) barrier_wait(barriers.full(ring.stage), ring.parity);
        const unsigned stage = shared + ring.stage * S::kStageBytes;
        const std::uint64_t right = operand_descriptor(stage + first_col / 64 * kBlockBytes);
#pragma unroll
        for (unsigned m = 0; m < S::kTilesM; ++m) hold(sums[m]);
        unit_fence();
#pragma unroll
        for (unsigned m = 0; m < S::kTilesM; ++m) {
          const unsigned block = first_block + m;
          const std::uint64_t left =
              operand_descriptor(S::kResident ? resident + (block * task.steps + k) * kBlockBytes
                                              : stage + S::kRightBytes + S::kBiasRoom + block * kBlockBytes);
#pragma unroll
          for (unsigned i = 0; i < kDepthStep / 16; ++i)
            unit_multiply_add(sums[m], left + i * kDescriptorDeeper, right + i * kDescriptorDeeper);
        }
        unit_commit();
        if (k > 0) {  // the step before is done with its stage
          unit_wait<1>();
          if (lane == 0) barrier_arrive(barriers.empty(last_stage));
        }
        last_stage = ring.stage;
        ring.advance();
      }
      unit_wait<0>();
#pragma unroll
      for (unsigned m = 0; m < S::kTilesM; ++m) hold(sums[m]);
      if (lane == 0) {
        barrier_arrive(barriers.empty(last_stage));
        if (S::kResident && tile + 1 == item.n_tiles) barrier_arrive(barriers.queries_empty());
      }

      const unsigned tile_number = item.first_tile + tile;
      const unsigned query = item.query_tile * S::kTileRows + first_block * 64 + warp * 16;
      const unsigned block = tile_number * (S::kTileCols / kBlockCols) + first_col / kBlockCols;
      // Of the warpgroup's first column less the warp's first query.
      const int ahead = static_cast<int>(block * kBlockCols) - static_cast<int>(task.first_row + query);
      if (mask_touches(task.plan.scope, ahead + static_cast<int>(kUnitCols - kBlockCols),
                       static_cast<int>(S::kTilesM * 64 + kUnitCols))) {
        const int own = ahead + static_cast<int>(block_column(lane, 0, 0)) - static_cast<int>(lane / 4);
#pragma unroll
        for (unsigned m = 0; m < S::kTilesM; ++m)
#pragma unroll
          for (unsigned i = 0; i < 64; ++i)
            if (masked(task.plan.scope,
                       own + static_cast<int>(i / 4 * 8 + i % 2) - static_cast<int>(m * 64 + i / 2 % 2 * 8)))
              sums[m][i] = std::numeric_limits<float>::infinity();
      }
      const bool span_ends = tile + 1 == item.n_tiles || (tile + 1) % task.plan.layout.span_tiles == 0;
      float* groups = task.groups + group_place(block, query + lane / 4, task.n, kGroup);
      const std::size_t next_block = group_place(1, 0, task.n, kGroup);
#pragma unroll
      for (unsigned m = 0; m < S::kTilesM; ++m)
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const bool written = query + m * 64 + half * 8 + lane / 4 < task.n_queries;
#pragma unroll
          for (unsigned b = 0; b < kBlocks; ++b)
            write_minima<kGroup>(
                groups + b * next_block + group_place(0, m * 64 + half * 8, 0, kGroup), lane,
                [&](unsigned i) { return sums[m][b * 32 + i / 2 * 4 + 2 * half + i % 2]; }, written,
                span_minima[(m * 2 + half) * kBlocks + b]);
        }
      if (span_ends) {
        const std::size_t span = task.plan.layout.span_of(tile_number, first_col / kBlockCols);
#pragma unroll
        for (unsigned m = 0; m < S::kTilesM; ++m)
#pragma unroll
          for (unsigned half = 0; half < 2; ++half) {
            const unsigned own = query + m * 64 + half * 8 + lane / 4;
#pragma unroll
            for (unsigned b = 0; b < kBlocks; ++b)
              end_span(task.spans + span_place(span + b, own, task.n), lane, own < task.n_queries,
                       span_minima[(m * 2 + half) * kBlocks + b]);
          }
      }
    }
  }
}

template <class S, unsigned kGroup>
__global__ void __launch_bounds__(kThreads, 1)
    scan_hopper(const __grid_constant__ ScanTask task, const unsigned stages) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  const unsigned shared = shared_address(shared_bytes);
  const unsigned resident = shared + stages * S::kStageBytes;
  const Barriers barriers{resident + (S::kResident ? task.steps * S::kLeftBytes : 0)};
  if (threadIdx.x == 0) {
    constexpr unsigned kWarps = kConsumers * kGroupThreads / kLanes;
    for (unsigned s = 0; s < stages; ++s) {
      barrier_init(barriers.full(s), 1);
      barrier_init(barriers.empty(s), kWarps);
    }
    barrier_init(barriers.queries_full(), 1);
    barrier_init(barriers.queries_empty(), kWarps);
    barrier_init_fence();
  }
  __syncthreads();
  wait_for_previous();
  if (threadIdx.x < kGroupThreads) {
    registers_down<kCopyRegisters>();
    if (threadIdx.x == 0) copy_items<S>(task, shared, resident, barriers, stages);
  } else {
    registers_up<kMultiplyRegisters>();
    multiply_items<S, kGroup>(task, shared_bytes, shared, resident, barriers, stages);
  }
#endif
}

template <class S, unsigned kGroup>
cudaError_t launch(const ScanTask& task, const DeviceLimits& limits, cudaStream_t stream) {
  const auto kernel = scan_hopper<S, kGroup>;
  const std::size_t stages = S::stages(task.steps, limits.shared);
  const std::size_t bytes = S::shared_bytes(stages, task.steps);
  cudaError_t code =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (code != cudaSuccess) return code;
  const unsigned items = task.items_per_query_tile * task.query_tiles;
  return launch_next(kernel, limits.hopper, items < limits.processors ? items : limits.processors, kThreads,
                     bytes, stream, task, static_cast<unsigned>(stages));
}

using Wide = Shape<true, false>;
using Streamed = Shape<false, false>;
using Narrow = Shape<true, true>;

}  // namespace

bool hopper_available(int device) {
  int major = 0;
  cudaFuncAttributes attributes{};
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess || major != 9)
    return false;
  // A binary without sm_90a code would run an empty kernel compiled from PTX.
  return cudaFuncGetAttributes(&attributes, scan_hopper<Wide, 16>) == cudaSuccess &&
         attributes.ptxVersion >= 90;
}

bool hopper_fits(ScanKernel kernel, std::size_t steps, std::size_t shared) {
  switch (kernel) {
    case ScanKernel::kHopperNarrow:
      return Narrow::stages(steps, shared) > 0;
    case ScanKernel::kHopperStreamed:
      return Streamed::stages(steps, shared) > 0;
    default:
      return Wide::stages(steps, shared) > 0;
  }
}

void set_hopper_shape(ScanPlan& plan) {
  const bool narrow = plan.kernel == ScanKernel::kHopperNarrow;
  plan.tile_rows = narrow ? Narrow::kTileRows : Wide::kTileRows;
  plan.layout.warps = (narrow ? Narrow::kTileCols : Wide::kTileCols) / kBlockCols;
}

cudaError_t launch_hopper_scan(const ScanTask& task, const DeviceLimits& limits, cudaStream_t stream) {
  const bool fours = task.plan.group == 4;
  switch (task.plan.kernel) {
    case ScanKernel::kHopperNarrow:
      return launch<Narrow, 4>(task, limits, stream);
    case ScanKernel::kHopperStreamed:
      return fours ? launch<Streamed, 4>(task, limits, stream) : launch<Streamed, 16>(task, limits, stream);
    default:
      return fours ? launch<Wide, 4>(task, limits, stream) : launch<Wide, 16>(task, limits, stream);
  }
}

}  // namespace whimbrel::cuda
