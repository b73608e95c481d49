// The scan: scores of all pairs of queries and rows by a matrix unit, of which only minima are written.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "scan_layout.hpp"
#include "scan_operand.cuh"
#include "whimbrel/cuda/knn.hpp"

namespace whimbrel::cuda {

/// A kernel for the scan: shape of its tiles and memory it takes.
enum class ScanKernel : std::uint8_t {
  kResident,        ///< 256 queries stay in shared memory, tiles of 128 rows pass by: up to 256 dimensions
  kStreamed,        ///< 256 x 128, both streamed
  kNarrow,          ///< 64 x 512: few queries
  kSmall,           ///< 128 x 128: for devices with less than 164 KB of shared memory
  kHopperResident,  ///< as kResident, with the matrix unit of Hopper
  kHopperStreamed,
  kHopperNarrow,  ///< 64 x 256: few queries
};

/// How a search goes through its pairs; the same for the scan and for what reads its minima.
struct ScanPlan {
  ScanKernel kernel;
  unsigned tile_rows;  ///< queries of a tile
  SpanLayout layout;
  unsigned group;       ///< G: columns that share a minimum
  unsigned item_tiles;  ///< tiles that one block goes through at a time, a multiple of layout.span_tiles
  std::size_t tiles;    ///< of rows
  KnnScope scope;

  WHIMBREL_HOST_DEVICE unsigned tile_cols() const { return layout.warps * kBlockCols; }
  WHIMBREL_HOST_DEVICE std::size_t groups() const { return tiles * layout.warps * groups_per_block(group); }
  WHIMBREL_HOST_DEVICE std::size_t spans() const { return layout.spans(tiles); }
  /// Floats of the minima of one query.
  WHIMBREL_HOST_DEVICE std::size_t minima() const {
    return groups() + (spans() + kSpanRun - 1) / kSpanRun * kSpanRun;
  }
  /// Tiles that any query of a tile of queries looks at. `first_row`: row number of query 0.
  WHIMBREL_HOST_DEVICE std::size_t tiles_for(std::size_t first_row, std::size_t query_tile) const {
    return scope == KnnScope::kEarlier
               ? earlier_tiles(first_row + (query_tile + 1) * tile_rows - 1, tile_cols(), tiles)
               : tiles;
  }
};

/// Minima of the scores of up to n queries, at group_place and span_place.
struct Minima {
  float* groups;
  float* spans;
  std::size_t n;

  /// @param place  n * plan.minima() floats, aligned to 16 bytes
  Minima(float* place, const ScanPlan& plan, std::size_t n_queries)
      : groups(place), spans(place == nullptr ? nullptr : place + n_queries * plan.groups()), n(n_queries) {}
};

/// What of a device decides how a search runs. Asked for once per call: each question takes the driver some
/// time.
struct DeviceLimits {
  unsigned processors;
  std::size_t shared;  ///< bytes of shared memory that a block can have
  bool hopper;  ///< the kernels for Hopper can run: the device, and whether their code is in this binary
};
/// Of the current device.
cudaError_t read_limits(DeviceLimits& limits);

/// The plan for chunks of at most n_queries queries.
void plan_scan(std::size_t n_queries, std::size_t n_rows, std::size_t depth, std::size_t k, KnnScope scope,
               const DeviceLimits& limits, ScanPlan& plan);
/// The parts of it that measurements vary: the kernel and its shape, then runs and spans.
void set_kernel(ScanPlan& plan, ScanKernel kernel);
void set_runs(ScanPlan& plan, std::size_t n_queries, std::size_t n_rows, std::size_t k,
              std::size_t processors);

/// @param queries    (n_queries padded to whole tiles, depth), negated
/// @param first_row  row number of query 0, for scopes other than kAll
cudaError_t launch_scan(const ScanPlan& plan, const ScanOperand& data, const __half* queries,
                        std::size_t n_queries, std::size_t first_row, const Minima& out,
                        const DeviceLimits& limits, cudaStream_t stream);

}  // namespace whimbrel::cuda
