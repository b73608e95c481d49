// Exact nearest neighbors: chunks of queries, each prepared, scanned, settled, and rescanned where need be.
#include "whimbrel/cuda/knn.hpp"

#include <algorithm>

#include "arena.hpp"
#include "prepare.cuh"
#include "scan.cuh"
#include "settle.cuh"

namespace whimbrel::cuda {
namespace {

/// Minima of a chunk. More would not make the chunks' scans more efficient.
constexpr std::size_t kMinimaBytes = std::size_t{2} << 30;
constexpr std::size_t kMaxChunk = 65536;
/// Parts of the rows that an open query is looked for in at once, and the least size of a part.
constexpr std::size_t kMaxSegments = 64, kSegmentRows = 4096;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

/// A chunk's share of the workspace.
struct Chunk {
  QueryOperand queries;
  OpenQueries open;
  Minima minima;
  std::uint64_t* partial;  // where the minima were
  unsigned segments;
  std::size_t bytes;
};

Chunk lay_out(void* workspace, const ScanPlan& plan, const DeviceMatrix& data, std::size_t n, std::size_t k) {
  const std::size_t rows = data.rows().rows;
  const std::size_t minima = n * plan.minima();
  const std::size_t room = minima * sizeof(float) / (n * k * sizeof(std::uint64_t));
  Chunk chunk{{}, {}, {nullptr, plan, n}, nullptr, 0, 0};
  chunk.segments =
      static_cast<unsigned>(std::clamp<std::size_t>(std::min(room, rows / kSegmentRows), 1, kMaxSegments));
  Arena arena(workspace);
  chunk.queries.values = arena.take<__half>(round_up(n, plan.tile_rows) * data.operand().depth);
  chunk.queries.rows = arena.take<float>(n * data.rows().cols);
  chunk.queries.slack = arena.take<float>(n);
  chunk.open.list = arena.take<std::uint32_t>(n);
  chunk.open.count = chunk.queries.open = arena.take<std::uint32_t>(1);
  const std::size_t partial = n * chunk.segments * k * sizeof(std::uint64_t);
  float* place = arena.take<float>(std::max(minima, partial / sizeof(float)));
  chunk.minima = Minima(place, plan, n);
  chunk.partial = reinterpret_cast<std::uint64_t*>(place);
  chunk.bytes = arena.used();
  return chunk;
}

/// How many queries at a time, and how.
struct Schedule {
  ScanPlan plan{};
  std::size_t chunk = 0;
  std::size_t bytes = 0;
};

void schedule_chunk(const DeviceMatrix& data, const KnnOptions& options, const DeviceLimits& limits,
                    std::size_t n, Schedule& out) {
  plan_scan(n, data.rows().rows, data.operand().depth, options.k, options.scope, limits, out.plan);
  out.chunk = n;
  out.bytes = lay_out(nullptr, out.plan, data, n, options.k).bytes;
}

/// The schedule with the largest chunks up to the usual, of equal size, that fits into `limit` bytes.
cudaError_t make_schedule(const DeviceMatrix& data, std::size_t n_queries, const KnnOptions& options,
                          const DeviceLimits& limits, std::size_t limit, Schedule& out) {
  schedule_chunk(data, options, limits, n_queries, out);
  const std::size_t tile = out.plan.tile_rows;
  const std::size_t per_query = out.plan.minima() * sizeof(float);
  std::size_t most = std::clamp(kMinimaBytes / std::max<std::size_t>(per_query, 1), tile, kMaxChunk);
  for (most = most / tile * tile; most > 0; most -= std::max(tile, most / 16 / tile * tile)) {
    const std::size_t n_chunks = (n_queries + most - 1) / most;
    const std::size_t chunk = std::min(n_queries, round_up((n_queries + n_chunks - 1) / n_chunks, tile));
    schedule_chunk(data, options, limits, chunk, out);
    if (out.bytes <= limit) return cudaSuccess;
  }
  return limit == 0 ? cudaSuccess : cudaErrorInvalidValue;  // 0: the question for the least
}

std::size_t workspace_bytes_within(const DeviceMatrix& data, std::size_t n_queries, const KnnOptions& options,
                                   std::size_t limit) {
  Schedule schedule;
  DeviceLimits limits{};
  if (n_queries == 0 || data.rows().rows == 0 || options.k < 1 || options.k > kMaxK) return 0;
  if (read_limits(limits) != cudaSuccess) return 0;
  return make_schedule(data, n_queries, options, limits, limit, schedule) == cudaSuccess ? schedule.bytes : 0;
}

}  // namespace

std::size_t knn_workspace_bytes(const DeviceMatrix& data, std::size_t n_queries, const KnnOptions& options) {
  return workspace_bytes_within(data, n_queries, options, SIZE_MAX);
}

std::size_t knn_min_workspace_bytes(const DeviceMatrix& data, std::size_t n_queries,
                                    const KnnOptions& options) {
  return workspace_bytes_within(data, n_queries, options, 0);
}

cudaError_t launch_knn(const DeviceMatrix& data, DeviceRows queries, const KnnOptions& options,
                       std::int64_t* ids, float* distances, KnnStats* stats, void* workspace,
                       std::size_t workspace_bytes, cudaStream_t stream) {
  const DeviceRows& rows = data.rows();
  if (options.k < 1 || options.k > kMaxK || queries.cols != rows.cols) return cudaErrorInvalidValue;
  if (options.scope != KnnScope::kAll &&
      (options.first_row > rows.rows || queries.rows > rows.rows - options.first_row))
    return cudaErrorInvalidValue;
  cudaError_t code = cudaSuccess;
  if (stats != nullptr) code = cudaMemsetAsync(stats, 0, sizeof(KnnStats), stream);
  if (code != cudaSuccess || queries.rows == 0) return code;
  if (rows.rows == 0) return fill_missing(ids, distances, queries.rows * options.k, stream);

  Schedule schedule;
  DeviceLimits limits{};
  code = read_limits(limits);
  if (code != cudaSuccess) return code;
  code = make_schedule(data, queries.rows, options, limits, workspace_bytes, schedule);
  if (code != cudaSuccess) return code;
  if (schedule.bytes > workspace_bytes) return cudaErrorInvalidValue;

  for (std::size_t first = 0; first < queries.rows; first += schedule.chunk) {
    const std::size_t n = std::min(schedule.chunk, queries.rows - first);
    const ScanPlan& plan = schedule.plan;
    // Laid out for a whole chunk, also the last.
    const Chunk chunk = lay_out(workspace, plan, data, schedule.chunk, options.k);
    SettleTask task{};
    task.data = rows;
    task.operand = data.operand();
    task.metric = data.metric();
    task.queries = chunk.queries;
    task.n_queries = n;
    task.first_row = options.first_row + first;
    task.scope = options.scope;
    task.k = static_cast<unsigned>(options.k);
    task.open = chunk.open;
    task.ids = ids + first * options.k;
    task.distances = distances + first * options.k;
    task.stats = stats;

    code = prepare_queries(queries.slice(first, n), round_up(n, plan.tile_rows), data.operand(),
                           data.metric(), options.precision == KnnPrecision::kAuto, chunk.queries, stream);
    if (code == cudaSuccess)
      code = launch_scan(plan, data.operand(), chunk.queries.values, n, task.first_row, chunk.minima, limits,
                         stream);
    if (code == cudaSuccess) code = launch_settle(task, plan, chunk.minima, limits, stream);
    if (code == cudaSuccess) code = launch_rescan(task, chunk.segments, chunk.partial, limits, stream);
    if (code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

}  // namespace whimbrel::cuda
