// Normalization as cpp/src/base/vectors.cpp does it. One warp takes four rows, eight threads each.
//
// Numerics. Squares and their sums are double: chain c of eight adds the squares of elements c, c + 8, ... in
// order, and the chains are folded by halves 4, 2, 1. The product of two floats is exact in double, so it
// does not matter whether it is fused with the addition. Root and division round once, as IEEE 754 has it.
#include "whimbrel/cuda/normalize.hpp"

#include <algorithm>
#include <cstddef>

#include "lanes.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kBlockThreads = 256;
constexpr unsigned kChains = 8;
constexpr std::size_t kRowsPerBlock = kBlockThreads / kChains;
constexpr std::size_t kMaxBlocks = 65536;

struct Rows {
  const float* data;
  std::size_t stride;
  std::size_t n;
  std::size_t d;
};

__global__ void __launch_bounds__(kBlockThreads) normalize(Rows rows, float* out) {
  const unsigned chain = threadIdx.x % kChains;
  const std::size_t step = gridDim.x * kRowsPerBlock;
  // Threads beyond the last row stay for the shuffles of their warp.
  const std::size_t n_padded = (rows.n + kRowsPerBlock - 1) / kRowsPerBlock * kRowsPerBlock;
  for (std::size_t i = blockIdx.x * kRowsPerBlock + threadIdx.x / kChains; i < n_padded; i += step) {
    const float* row = rows.data + i * rows.stride;
    const std::size_t d = i < rows.n ? rows.d : 0;
    double sum = 0;
    for (std::size_t j = chain; j < d; j += kChains) {
      const double x = row[j];
      sum += x * x;
    }
    for (unsigned half = kChains / 2; half > 0; half /= 2)
      sum += __shfl_down_sync(kAllLanes, sum, half, kChains);
    const double norm = sqrt(__shfl_sync(kAllLanes, sum, 0, kChains));
    for (std::size_t j = chain; j < d; j += kChains)
      out[i * rows.d + j] = norm > 0 ? static_cast<float>(row[j] / norm) : 0.0f;
  }
}

}  // namespace

cudaError_t launch_normalize(MatrixView<const float> rows, float* out, cudaStream_t stream) {
  if (rows.rows == 0 || rows.cols == 0) return cudaSuccess;
  const std::size_t blocks = (rows.rows + kRowsPerBlock - 1) / kRowsPerBlock;
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(std::min(blocks, kMaxBlocks));
  config.blockDim = kBlockThreads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, normalize, Rows{rows.data, rows.stride, rows.rows, rows.cols}, out);
}

}  // namespace whimbrel::cuda
