// Linking a level on a GPU: candidates by exact search, one warp per row to choose, one sort to group what
// was chosen by target, one warp per row to answer.
#include "whimbrel/cuda/hnsw_build.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cub/device/device_radix_sort.cuh>
#include <stdexcept>
#include <string>
#include <utility>

#include "arena.hpp"
#include "link_select.hpp"
#include "warp_distance.cuh"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/device_matrix.hpp"
#include "whimbrel/cuda/knn.hpp"

namespace whimbrel::cuda {
namespace {

/// Warps of a block, and the shared memory they may take without asking for more.
constexpr unsigned kMaxWarps = 4;
constexpr std::size_t kSharedBytes = std::size_t{48} << 10;
constexpr unsigned kThreads = 256;
/// Rows whose candidates are in memory at a time.
constexpr std::size_t kCandidateBytes = std::size_t{1} << 29;

struct Launch {
  unsigned blocks, threads;
  std::size_t shared;
};

/// One warp per row, each with room for a selection.
Launch warps_for(std::size_t rows, std::size_t room_keys) {
  const std::size_t bytes = room_keys * sizeof(std::uint64_t);
  const auto warps = static_cast<unsigned>(std::clamp<std::size_t>(kSharedBytes / bytes, 1, kMaxWarps));
  return {static_cast<unsigned>((rows + warps - 1) / warps), warps * kLanes, warps * bytes};
}

__device__ SelectRoom room_of_warp(std::uint64_t* shared, unsigned max_kept, unsigned min_kept) {
  std::uint64_t* begin = shared + threadIdx.x / kLanes * (max_kept + min_kept);
  return {begin, begin + max_kept};
}

__device__ std::size_t row_of_warp() {
  return (static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
}

template <class Term>
__global__ void __launch_bounds__(kMaxWarps* kLanes)
    choose(MatrixView<const float> rows, std::size_t first, std::size_t n, std::size_t k,
           const std::int64_t* ids, const float* distances, const LinkRule rule, std::uint64_t* own) {
  extern __shared__ std::uint64_t shared[];
  const std::size_t i = row_of_warp();
  if (i >= n) return;
  choose_links(DistanceWarp<Term>(rows), k, ids + i * k, distances + i * k, rule.own, rule.own_filled,
               room_of_warp(shared, rule.own, rule.own_filled), own + (first + i) * rule.own);
}

__global__ void __launch_bounds__(kThreads)
    make_edges(std::size_t n_edges, std::uint32_t n, unsigned per_row, const std::uint64_t* own,
               std::uint64_t* edges, std::uint32_t* choosers) {
  const std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n_edges) return;
  edges[i] = edge_key(own[i], n);
  choosers[i] = static_cast<std::uint32_t>(i / per_row);
}

/// begins[t] = number of edges to rows below t, for t in [0, n].
__global__ void __launch_bounds__(kThreads)
    find_begins(std::size_t n_edges, std::uint32_t n, const std::uint64_t* edges, std::uint32_t* begins) {
  const std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n_edges) return;
  const std::uint32_t target = target_of_edge(edges[i]);
  const std::uint32_t from = i == 0 ? 0 : target_of_edge(edges[i - 1]) + 1;
  for (std::uint32_t t = from; t <= target; ++t) begins[t] = static_cast<std::uint32_t>(i);
  if (i + 1 == n_edges)
    for (std::uint32_t t = target + 1; t <= n; ++t) begins[t] = static_cast<std::uint32_t>(n_edges);
}

template <class Term>
__global__ void __launch_bounds__(kMaxWarps* kLanes)
    answer(MatrixView<const float> rows, const LinkRule rule, const std::uint64_t* own,
           const std::uint64_t* edges, const std::uint32_t* choosers, const std::uint32_t* begins,
           std::uint32_t* lists) {
  extern __shared__ std::uint64_t shared[];
  const std::size_t i = row_of_warp();
  if (i >= rows.rows) return;
  const std::uint32_t begin = begins[i];
  answer_links(
      DistanceWarp<Term>(rows), rule.own, own + i * rule.own, begins[i + 1] - begin,
      [&](unsigned j) { return chooser_key(edges[begin + j], choosers[begin + j]); }, rule.capacity,
      rule.filled, room_of_warp(shared, rule.capacity, rule.filled), lists + i * rule.capacity, kNoLink);
}

bool valid(MatrixView<const float> rows, const LinkRule& rule) {
  return (rule.metric == Metric::kL2 || rule.metric == Metric::kIp) && rows.rows <= kMaxLinkRows &&
         rule.own > 0 && rule.capacity >= rule.own && rule.own_filled <= rule.own &&
         rule.filled <= rule.capacity && rows.rows * rule.own < 0xffffffffu;
}

struct Edges {
  cub::DoubleBuffer<std::uint64_t> keys;
  cub::DoubleBuffer<std::uint32_t> choosers;
  std::uint32_t* begins;
  void* sort;
  std::size_t sort_bytes;
  int bits;  // of a key
  std::size_t bytes;
};

cudaError_t lay_out(void* workspace, std::size_t n, unsigned per_row, Edges& edges) {
  const std::size_t n_edges = n * per_row;
  Arena arena(workspace);
  auto* keys = arena.take<std::uint64_t>(n_edges);
  edges.keys = {keys, arena.take<std::uint64_t>(n_edges)};
  auto* choosers = arena.take<std::uint32_t>(n_edges);
  edges.choosers = {choosers, arena.take<std::uint32_t>(n_edges)};
  edges.begins = arena.take<std::uint32_t>(n + 1);
  edges.bits = 32 + static_cast<int>(std::bit_width(n));
  edges.sort_bytes = 0;
  const cudaError_t code = cub::DeviceRadixSort::SortPairs(nullptr, edges.sort_bytes, edges.keys,
                                                           edges.choosers, n_edges, 0, edges.bits);
  edges.sort = arena.take<unsigned char>(edges.sort_bytes);
  edges.bytes = arena.used();
  return code;
}

unsigned blocks_for(std::size_t n) { return static_cast<unsigned>((n + kThreads - 1) / kThreads); }

}  // namespace

cudaError_t launch_choose_links(MatrixView<const float> rows, std::size_t first, std::size_t n, std::size_t k,
                                const std::int64_t* ids, const float* distances, const LinkRule& rule,
                                std::uint64_t* own, cudaStream_t stream) {
  if (!valid(rows, rule) || first > rows.rows || n > rows.rows - first) return cudaErrorInvalidValue;
  if (n == 0) return cudaSuccess;
  const Launch launch = warps_for(n, rule.own + rule.own_filled);
  const auto kernel = rule.metric == Metric::kL2 ? choose<L2> : choose<Ip>;
  kernel<<<launch.blocks, launch.threads, launch.shared, stream>>>(rows, first, n, k, ids, distances, rule,
                                                                   own);
  return cudaGetLastError();
}

std::size_t answer_links_workspace_bytes(std::size_t n, const LinkRule& rule) {
  Edges edges{};
  return n > 0 && lay_out(nullptr, n, rule.own, edges) == cudaSuccess ? edges.bytes : 0;
}

cudaError_t launch_answer_links(MatrixView<const float> rows, const LinkRule& rule, const std::uint64_t* own,
                                std::uint32_t* lists, void* workspace, std::size_t workspace_bytes,
                                cudaStream_t stream) {
  if (!valid(rows, rule)) return cudaErrorInvalidValue;
  if (rows.rows == 0) return cudaSuccess;
  Edges edges{};
  cudaError_t code = lay_out(workspace, rows.rows, rule.own, edges);
  if (code != cudaSuccess) return code;
  if (workspace == nullptr || edges.bytes > workspace_bytes) return cudaErrorInvalidValue;
  const std::size_t n_edges = rows.rows * rule.own;
  const auto n = static_cast<std::uint32_t>(rows.rows);
  make_edges<<<blocks_for(n_edges), kThreads, 0, stream>>>(n_edges, n, rule.own, own, edges.keys.Current(),
                                                           edges.choosers.Current());
  code = cudaGetLastError();
  if (code != cudaSuccess) return code;
  code = cub::DeviceRadixSort::SortPairs(edges.sort, edges.sort_bytes, edges.keys, edges.choosers, n_edges, 0,
                                         edges.bits, stream);
  if (code != cudaSuccess) return code;
  find_begins<<<blocks_for(n_edges), kThreads, 0, stream>>>(n_edges, n, edges.keys.Current(), edges.begins);
  code = cudaGetLastError();
  if (code != cudaSuccess) return code;
  const Launch launch = warps_for(rows.rows, rule.capacity + rule.filled);
  const auto kernel = rule.metric == Metric::kL2 ? answer<L2> : answer<Ip>;
  kernel<<<launch.blocks, launch.threads, launch.shared, stream>>>(
      rows, rule, own, edges.keys.Current(), edges.choosers.Current(), edges.begins, lists);
  return cudaGetLastError();
}

namespace {

/// What fn gives; its milliseconds are added to `sum`.
template <class Fn>
auto timed(float& sum, const Fn& fn) {
  struct Watch {
    float& sum;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    ~Watch() {
      sum += std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - start).count();
    }
  } watch{sum};
  return fn();
}

/// One level on the device. Every step is waited for: between steps there is progress to report, and a caller
/// who may cancel.
class DeviceLinking {
 public:
  DeviceLinking(const LevelToLink& level, cudaStream_t stream, LinkTimes& times)
      : level_(level), stream_(stream), times_(times), n_(level.rows.rows) {
    rule_.metric = level.metric;
    rule_.own = static_cast<unsigned>(level.own);
    rule_.own_filled = static_cast<unsigned>(level.own_filled);
    rule_.capacity = static_cast<unsigned>(level.capacity);
    rule_.filled = static_cast<unsigned>(level.filled);
  }

  void run(std::uint32_t* lists) {
    const DeviceMatrix data =
        timed(times_.upload, [&] { return DeviceMatrix::upload(level_.rows, level_.metric, stream_); });
    const DeviceRows& held = data.rows();
    const MatrixView<const float> rows(static_cast<const float*>(held.data), n_, held.cols, held.stride);
    const DeviceBuffer own(n_ * rule_.own * sizeof(std::uint64_t));
    choose(data, rows, own.data<std::uint64_t>());

    const DeviceBuffer workspace(answer_links_workspace_bytes(n_, rule_));
    const DeviceBuffer out(n_ * rule_.capacity * sizeof(std::uint32_t));
    timed(times_.answer, [&] {
      check(launch_answer_links(rows, rule_, own.data<std::uint64_t>(), out.data<std::uint32_t>(),
                                workspace.data(), workspace.bytes(), stream_),
            "launch_answer_links");
      check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    });
    timed(times_.download, [&] {
      check(cudaMemcpyAsync(lists, out.data(), out.bytes(), cudaMemcpyDeviceToHost, stream_),
            "cudaMemcpyAsync");
      check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    });
  }

 private:
  /// All rows choose, a block at a time.
  void choose(const DeviceMatrix& data, MatrixView<const float> rows, std::uint64_t* own) {
    KnnOptions options;
    options.k = std::min(level_.ef_construction, n_ - 1);
    options.scope = KnnScope::kEarlier;
    const std::size_t bytes = options.k * (sizeof(std::int64_t) + sizeof(float));
    const std::size_t block = std::clamp<std::size_t>(kCandidateBytes / bytes, 1, n_);
    const DeviceBuffer ids(block * options.k * sizeof(std::int64_t)),
        distances(block * options.k * sizeof(float)), workspace(knn_workspace_bytes(data, block, options));
    for (std::size_t begin = 0; begin < n_; begin += block) {
      const std::size_t n = std::min(block, n_ - begin);
      options.first_row = begin;
      timed(times_.candidates, [&] {
        check(launch_knn(data, data.rows().slice(begin, n), options, ids.data<std::int64_t>(),
                         distances.data<float>(), nullptr, workspace.data(), workspace.bytes(), stream_),
              "launch_knn");
        check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      });
      timed(times_.choose, [&] {
        check(launch_choose_links(rows, begin, n, options.k, ids.data<std::int64_t>(),
                                  distances.data<float>(), rule_, own, stream_),
              "launch_choose_links");
        check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      });
      if (level_.progress) level_.progress(begin + n, n_);
    }
  }

  const LevelToLink& level_;
  cudaStream_t stream_;
  LinkTimes& times_;
  std::size_t n_;
  LinkRule rule_;
};

}  // namespace

LevelLinker link_nearest(cudaStream_t stream, LinkTimes* times) {
  return [stream, times](const LevelToLink& level, std::uint32_t* lists) {
    const std::size_t n = level.rows.rows;
    if (n < 2) {
      std::fill_n(lists, n * level.capacity, kNoLink);
      return;
    }
    if (std::min(level.ef_construction, n - 1) > kMaxK)
      throw std::invalid_argument("ef_construction: expected at most " + std::to_string(kMaxK) + ", got " +
                                  std::to_string(level.ef_construction));
    LinkTimes unread;
    DeviceLinking(level, stream, times != nullptr ? *times : unread).run(lists);
  };
}

}  // namespace whimbrel::cuda
