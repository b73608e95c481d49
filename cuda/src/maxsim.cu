// MaxSim on a device: which kernel, how the work is cut, and the sums. The scoring is in maxsim_kernel.cuh.
#include "whimbrel/cuda/maxsim.hpp"

#include <algorithm>
#include <cstdint>

#include "maxsim_kernel.cuh"
#include "query_panels.cuh"
#include "token_layout.hpp"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kSumThreads = 256;
constexpr unsigned kMaxPitch = 4096;
constexpr unsigned kScanBlocks = 1024;
constexpr std::size_t kCounterBytes = 256;
constexpr std::size_t kPerDoubt = 16;  // query tokens and documents for which there is room for one doubt

/// A kernel and what the host must know of it.
struct Kernel {
  void (*run)(MaxSimJob);
  void (*scan)(MaxSimJob);
  unsigned threads, panel, tile, steps;
  std::size_t (*shared_bytes)(unsigned pitch);
  std::size_t (*n_products)(std::size_t n_steps);
};

template <class T, bool kSplit, unsigned kWarps, unsigned kSteps = 4, bool kLong = false>
Kernel kernel() {
  using Worker = BestProducts<T, kSplit, kWarps, kSteps, kLong>;
  return {best_products<T, kSplit, kWarps, kSteps, kLong>,
          scan_doubts<T>,
          Worker::kThreads,
          Worker::kPanel,
          Worker::kTile,
          kSteps,
          Worker::shared_bytes,
          Worker::n_products};
}

/// As few warps as hold the query tokens: with fewer, more documents are on the way at a time.
template <class T, bool kSplit>
Kernel choose(std::size_t dim, std::size_t n_slots) {
  if (dim > 128) return kernel<T, kSplit, 4, 4, true>();
  if constexpr (kSplit) {
    return n_slots <= 32 ? kernel<T, true, 2>() : kernel<T, true, 4>();
  } else if constexpr (sizeof(T) == 1) {
    return n_slots <= 32 ? kernel<T, false, 1>() : kernel<T, false, 4>();
  } else {
    if (dim <= 64) return n_slots <= 32 ? kernel<T, false, 1, 2>() : kernel<T, false, 4, 2>();
    return n_slots <= 32   ? kernel<T, false, 1>()
           : n_slots <= 64 ? kernel<T, false, 2>()
                           : kernel<T, false, 4>();
  }
}

std::size_t element_bytes(TokenType type) {
  return type == TokenType::kFloat32 ? 4 : type == TokenType::kFloat16 ? 2 : 1;
}

bool valid(const RaggedTokens& queries, const RaggedTokens& docs) {
  if (queries.dim != docs.dim || docs.dim == 0 || queries.type == TokenType::kInt8) return false;
  if (docs.type == TokenType::kInt8 && docs.scales == nullptr && docs.rows > 0) return false;
  return docs.dim <= kMaxTokenDim && docs.dim * element_bytes(docs.type) <= kMaxPitch;
}

/// Only float documents or float queries need two halves for a query coordinate.
bool is_split(const RaggedTokens& queries, const RaggedTokens& docs) {
  return queries.type == TokenType::kFloat32 || docs.type == TokenType::kFloat32;
}

Kernel choose(const RaggedTokens& queries, const RaggedTokens& docs, std::size_t n_slots) {
  const bool split = is_split(queries, docs);
  if (docs.type == TokenType::kFloat32) return choose<float, true>(docs.dim, n_slots);
  if (docs.type == TokenType::kFloat16)
    return split ? choose<__half, true>(docs.dim, n_slots) : choose<__half, false>(docs.dim, n_slots);
  return split ? choose<std::int8_t, true>(docs.dim, n_slots) : choose<std::int8_t, false>(docs.dim, n_slots);
}

struct Sums {
  const std::uint32_t* best;
  std::size_t stride;
  const std::int64_t *query_offsets, *doc_offsets, *list_offsets, *list_ids;
  std::size_t n_queries, n_docs, first, last;
  bool normalize;
};

/// Scores of the documents or entries [first, last), a thread for each.
__global__ void __launch_bounds__(kSumThreads) add_best(Sums sums, float* scores) {
  const std::size_t rows = sums.last - sums.first;
  const bool lists = sums.list_offsets != nullptr;
  const std::size_t n = lists ? rows : rows * sums.n_queries;
  for (std::size_t i = blockIdx.x * std::size_t{kSumThreads} + threadIdx.x; i < n;
       i += gridDim.x * std::size_t{kSumThreads}) {
    const std::size_t row = i % rows;
    const std::size_t query =
        lists ? set_of_token(sums.list_offsets, sums.n_queries, static_cast<std::int64_t>(sums.first + row))
              : i / rows;
    const std::int64_t doc =
        lists ? sums.list_ids[sums.first + row] : static_cast<std::int64_t>(sums.first + row);
    float& score = lists ? scores[sums.first + row] : scores[query * sums.n_docs + sums.first + row];
    if (doc < 0 || sums.doc_offsets[doc] == sums.doc_offsets[doc + 1]) {
      score = -INFINITY;
      continue;
    }
    const std::int64_t begin = sums.query_offsets[query], end = sums.query_offsets[query + 1];
    const std::uint32_t* best = sums.best + row * sums.stride + (lists ? 0 : begin);
    double sum = 0;
    for (std::int64_t j = 0; j < end - begin; ++j) sum += unordered(best[j]);
    if (sums.normalize && end > begin) sum /= static_cast<double>(end - begin);
    const auto rounded = static_cast<float>(sum);
    score = isfinite(rounded) ? rounded : -INFINITY;
  }
}

/// How a call is cut.
struct Plan {
  Kernel kernel;
  QueryPanels panels;
  std::size_t n_rows;  // documents, or entries of lists
  std::size_t stride;  // of rows of best products
  std::size_t panel_bytes, row_bytes;

  WorkspaceBytes bytes() const {
    return {panel_bytes + row_bytes, panel_bytes + std::max<std::size_t>(1, n_rows) * row_bytes};
  }
};

Plan make_plan(const RaggedTokens& queries, const RaggedTokens& docs, const DeviceLists* lists) {
  Plan plan = {};
  const std::size_t wanted = lists != nullptr ? lists->longest_query : queries.rows;
  plan.kernel = choose(queries, docs, wanted);
  const std::size_t slots = std::max<std::size_t>(1, round_up(wanted, plan.kernel.panel));
  plan.panels.slots_per_query = lists != nullptr ? slots : 0;
  plan.panels.n_slots = lists != nullptr ? slots * queries.n_sets : slots;
  plan.panels.n_slots = round_up(plan.panels.n_slots, plan.kernel.panel);
  plan.panels.dim = docs.dim;
  const std::size_t depth = round_up(std::max<std::size_t>(1, docs.dim), plan.kernel.steps * kStepDepth);
  plan.panels.n_steps = depth / kStepDepth;
  QueryPanels placed = plan.panels;
  plan.panel_bytes = placed.place(nullptr, is_split(queries, docs)) + kCounterBytes;
  plan.n_rows = lists != nullptr ? lists->n_ids : docs.n_sets;
  plan.stride = lists != nullptr ? slots : plan.panels.n_slots;
  plan.row_bytes = plan.stride * sizeof(std::uint32_t) + plan.stride / kPerDoubt * sizeof(Doubt);
  return plan;
}

/// Blocks of a kernel that the current device holds at a time.
cudaError_t count_blocks(const Kernel& kernel, std::size_t shared_bytes, unsigned& n_blocks) {
  int device = 0, n_units = 0, per_unit = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&n_units, cudaDevAttrMultiProcessorCount, device);
  const auto function = reinterpret_cast<const void*>(kernel.run);
  if (error == cudaSuccess)
    error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes));
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_unit, function,
                                                          static_cast<int>(kernel.threads), shared_bytes);
  if (error == cudaSuccess && per_unit == 0) error = cudaErrorLaunchOutOfResources;
  n_blocks = static_cast<unsigned>(n_units * per_unit);
  return error;
}

cudaError_t launch(const RaggedTokens& queries, const RaggedTokens& docs, const DeviceLists* lists,
                   bool normalize, float* scores, void* workspace, std::size_t workspace_bytes,
                   cudaStream_t stream) {
  if (!valid(queries, docs)) return cudaErrorInvalidValue;
  Plan plan = make_plan(queries, docs, lists);
  if (plan.n_rows == 0 || queries.n_sets == 0) return cudaSuccess;
  if (workspace_bytes < plan.bytes().least) return cudaErrorInvalidValue;

  const Kernel& kernel = plan.kernel;
  const std::size_t bytes = element_bytes(docs.type);
  const std::size_t depth = plan.panels.n_steps * kStepDepth;
  const unsigned pitch = bytes == 1   ? TokenRows<1>::pitch(depth)
                         : bytes == 2 ? TokenRows<2>::pitch(depth)
                                      : TokenRows<4>::pitch(depth);
  const std::size_t shared_bytes = kernel.shared_bytes(pitch);
  unsigned capacity = 0;
  cudaError_t error = count_blocks(kernel, shared_bytes, capacity);
  if (error != cudaSuccess) return error;

  plan.panels.place(workspace, is_split(queries, docs));
  error = prepare_queries(queries, plan.panels, kernel.n_products(plan.panels.n_steps),
                          docs.type == TokenType::kFloat32, stream);
  if (error != cudaSuccess) return error;

  MaxSimJob job = {};
  job.queries = plan.panels;
  job.tokens = docs.data;
  job.scales = docs.scales;
  job.stride = docs.stride;
  const bool aligned = docs.stride * bytes % kChunkBytes == 0 &&
                       reinterpret_cast<std::uintptr_t>(docs.data) % kChunkBytes == 0;
  job.shares = TileShares(depth, bytes, kernel.threads, aligned);
  job.offsets = docs.offsets;
  job.n_docs = docs.n_sets;
  job.list_offsets = lists != nullptr ? lists->offsets : nullptr;
  job.list_ids = lists != nullptr ? lists->ids : nullptr;
  job.n_queries = queries.n_sets;
  job.n_valid = queries.rows;
  job.query_offsets = queries.offsets;
  job.pitch = pitch;
  // The counter of doubts, best products, doubts.
  char* const counter = static_cast<char*>(workspace) + plan.panel_bytes - kCounterBytes;
  job.n_doubts = reinterpret_cast<unsigned*>(counter);
  job.best = reinterpret_cast<std::uint32_t*>(counter + kCounterBytes);
  job.best_stride = plan.stride;

  const std::size_t rows_at_a_time = (workspace_bytes - plan.panel_bytes) / plan.row_bytes;
  for (std::size_t first = 0; first < plan.n_rows; first += rows_at_a_time) {
    const std::size_t last = std::min(first + rows_at_a_time, plan.n_rows);
    job.first = first;
    job.last = last;
    const std::size_t best_bytes = (last - first) * plan.stride * sizeof(std::uint32_t);
    job.doubts = reinterpret_cast<Doubt*>(counter + kCounterBytes + best_bytes);
    job.max_doubts = static_cast<unsigned>(
        std::min<std::size_t>((last - first) * (plan.stride / kPerDoubt), std::size_t{1} << 31));
    error = cudaMemsetAsync(counter, 0, kCounterBytes + best_bytes, stream);
    if (error != cudaSuccess) return error;
    cudaLaunchConfig_t config = {};
    config.blockDim = kernel.threads;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    if (lists == nullptr) {
      const std::size_t n_panels = plan.panels.n_slots / kernel.panel;
      const std::size_t tiles = (docs.rows + kernel.tile - 1) / kernel.tile;
      const std::size_t parts = std::min<std::size_t>(
          {std::max<std::size_t>(1, capacity / n_panels), std::max<std::size_t>(1, tiles / 2), 65535});
      config.gridDim = {static_cast<unsigned>(n_panels), static_cast<unsigned>(parts), 1};
    } else {
      config.gridDim = static_cast<unsigned>(std::min<std::size_t>(last - first, capacity));
    }
    error = cudaLaunchKernelEx(&config, kernel.run, job);
    if (error != cudaSuccess) return error;
    cudaLaunchConfig_t scan_config = {};
    scan_config.gridDim = std::min(job.max_doubts, kScanBlocks);
    scan_config.blockDim = kScanThreads;
    scan_config.stream = stream;
    error = cudaLaunchKernelEx(&scan_config, kernel.scan, job);
    if (error != cudaSuccess) return error;

    const Sums sums = {job.best,     job.best_stride, queries.offsets, docs.offsets, job.list_offsets,
                       job.list_ids, queries.n_sets,  docs.n_sets,     first,        last,
                       normalize};
    const std::size_t n = (last - first) * (lists != nullptr ? 1 : queries.n_sets);
    cudaLaunchConfig_t sum_config = {};
    sum_config.gridDim = static_cast<unsigned>(
        std::min<std::size_t>((n + kSumThreads - 1) / kSumThreads, std::size_t{1} << 20));
    sum_config.blockDim = kSumThreads;
    sum_config.stream = stream;
    error = cudaLaunchKernelEx(&sum_config, add_best, sums, scores);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

WorkspaceBytes maxsim_workspace_bytes(const RaggedTokens& queries, const RaggedTokens& docs) {
  return make_plan(queries, docs, nullptr).bytes();
}

WorkspaceBytes maxsim_lists_workspace_bytes(const RaggedTokens& queries, const RaggedTokens& docs,
                                            const DeviceLists& lists) {
  return make_plan(queries, docs, &lists).bytes();
}

cudaError_t launch_maxsim_matrix(const RaggedTokens& queries, const RaggedTokens& docs, bool normalize,
                                 float* scores, void* workspace, std::size_t workspace_bytes,
                                 cudaStream_t stream) {
  return launch(queries, docs, nullptr, normalize, scores, workspace, workspace_bytes, stream);
}

cudaError_t launch_maxsim_lists(const RaggedTokens& queries, const RaggedTokens& docs,
                                const DeviceLists& lists, bool normalize, float* scores, void* workspace,
                                std::size_t workspace_bytes, cudaStream_t stream) {
  return launch(queries, docs, &lists, normalize, scores, workspace, workspace_bytes, stream);
}

}  // namespace whimbrel::cuda
