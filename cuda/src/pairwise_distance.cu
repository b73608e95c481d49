// Batched canonical distances, one warp for each pair of a query and a row.
//
// For re-ranking and as the reference of faster kernels: every row is read once per query, so it runs at the
// speed of memory and not at that of the arithmetic. Compiled in CI, run by
// tests/cpp/test_pairwise_distance.cpp where a GPU is present.
#include "whimbrel/cuda/pairwise_distance.hpp"

#include <algorithm>
#include <cstddef>

#include "lanes.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kBlockThreads = 256;
constexpr std::size_t kPairsPerBlock = kBlockThreads / kLanes;
constexpr std::size_t kMaxBlocks =
    65536;  // many times what any device holds at once; the rest is looped over

// Of rows of unit length, where the inner product is the cosine.
struct Cosine : Ip {
  static __device__ float finish(float sum) { return __fadd_rn(-sum, 1.0f); }
};

struct Pairs {
  const float* data;
  std::size_t data_stride;
  std::size_t n_data;
  const float* queries;
  std::size_t query_stride;
  std::size_t n_queries;
  std::size_t d;
};

template <class Term>
__global__ void __launch_bounds__(kBlockThreads) pairwise_distances(Pairs pairs, float* distances) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t n_warps = gridDim.x * kPairsPerBlock;
  const std::size_t n_pairs = pairs.n_queries * pairs.n_data;
  // The whole warp leaves the loop together, as the shuffles demand.
  for (std::size_t pair = blockIdx.x * kPairsPerBlock + threadIdx.x / kLanes; pair < n_pairs;
       pair += n_warps) {
    const float* query = pairs.queries + pair / pairs.n_data * pairs.query_stride;
    const float* row = pairs.data + pair % pairs.n_data * pairs.data_stride;
    const float distance = canonical_distance<Term>(query, row, pairs.d, lane);
    if (lane == 0) distances[pair] = distance;
  }
}

}  // namespace

cudaError_t launch_pairwise_distances(MatrixView<const float> data, MatrixView<const float> queries,
                                      Metric metric, float* distances, cudaStream_t stream) {
  if (data.cols != queries.cols) return cudaErrorInvalidValue;
  const std::size_t n_pairs = queries.rows * data.rows;
  if (n_pairs == 0) return cudaSuccess;

  const Pairs pairs = {data.data,      data.stride,  data.rows, queries.data,
                       queries.stride, queries.rows, data.cols};
  cudaLaunchConfig_t config = {};
  config.gridDim =
      static_cast<unsigned>(std::min((n_pairs + kPairsPerBlock - 1) / kPairsPerBlock, kMaxBlocks));
  config.blockDim = kBlockThreads;
  config.stream = stream;
  switch (metric) {
    case Metric::kL2:
      return cudaLaunchKernelEx(&config, pairwise_distances<L2>, pairs, distances);
    case Metric::kIp:
      return cudaLaunchKernelEx(&config, pairwise_distances<Ip>, pairs, distances);
    case Metric::kCosine:
      return cudaLaunchKernelEx(&config, pairwise_distances<Cosine>, pairs, distances);
    case Metric::kUser:
      break;
  }
  return cudaErrorInvalidValue;
}

}  // namespace whimbrel::cuda
