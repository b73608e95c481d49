#include "cur_greedy_kernels.hpp"

#include <algorithm>

#include "lanes.cuh"
#include "whimbrel/cur_greedy.hpp"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kThreads = 256, kWarps = kThreads / kLanes;
constexpr unsigned kAtOnce = 4;  // items of a warp

/// The fold of lanes.cuh, in all lanes.
__device__ float fold(float sum) {
  for (unsigned half = kLanes / 2; half > 0; half /= 2)
    sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, half));
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    deflate(GreedyItems items, const float* x, const float* w, double g, double xw) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t n_warps = std::size_t{gridDim.x} * kWarps;
  for (std::size_t first = (std::size_t{blockIdx.x} * kWarps + threadIdx.x / kLanes) * kAtOnce;
       first < items.n; first += n_warps * kAtOnce) {
    float u[kAtOnce] = {}, t[kAtOnce] = {};
    const float* row[kAtOnce];
#pragma unroll
    for (unsigned r = 0; r < kAtOnce; ++r)
      row[r] = items.rows + (first + r < items.n ? first + r : first) * items.dim;
#pragma unroll 2
    for (std::size_t i = lane; i < items.dim; i += kLanes) {
      const float xi = __ldg(x + i), wi = __ldg(w + i);
#pragma unroll
      for (unsigned r = 0; r < kAtOnce; ++r) {
        const float value = __ldg(row[r] + i);
        u[r] = Ip::add(u[r], xi, value);
        t[r] = Ip::add(t[r], wi, value);
      }
    }
    float own_u = 0, own_t = 0;
#pragma unroll
    for (unsigned r = 0; r < kAtOnce; ++r) {
      const float whole_u = fold(u[r]), whole_t = fold(t[r]);
      own_u = lane == r ? whole_u : own_u;
      own_t = lane == r ? whole_t : own_t;
    }
    const std::size_t item = first + lane;
    if (lane >= kAtOnce || item >= items.n) continue;
    if (items.scales != nullptr) {
      own_u = __fmul_rn(own_u, items.scales[item]);
      own_t = __fmul_rn(own_t, items.scales[item]);
    }
    const double share = __ddiv_rn(static_cast<double>(own_u), g);
    const double twice = 2 * static_cast<double>(own_t);
    items.column[item] =
        __dsub_rn(items.column[item], __dmul_rn(share, __dsub_rn(twice, __dmul_rn(share, xw))));
    items.diagonal[item] = __dsub_rn(items.diagonal[item], __dmul_rn(share, static_cast<double>(own_u)));
  }
}

__device__ double gain(const GreedyItems& items, std::size_t i) {
  return items.blocked[i] == 0 && items.diagonal[i] > items.tiny
             ? __ddiv_rn(items.column[i], items.diagonal[i])
             : 0;
}

/// Doubles above 0 are in the order of their bits; others do not count.
__global__ void __launch_bounds__(kThreads) find_largest(GreedyItems items, GreedyBest* best) {
  double largest = 0;
  for (std::size_t i = blockIdx.x * std::size_t{kThreads} + threadIdx.x; i < items.n;
       i += std::size_t{gridDim.x} * kThreads)
    largest = fmax(largest, gain(items, i));
  for (unsigned half = kLanes / 2; half > 0; half /= 2)
    largest = fmax(largest, __shfl_xor_sync(kAllLanes, largest, half));
  if (threadIdx.x % kLanes == 0 && largest > 0)
    atomicMax(&best->gain, static_cast<unsigned long long>(__double_as_longlong(largest)));
  if (blockIdx.x == 0 && threadIdx.x == 0) best->item = items.n;
}

__global__ void __launch_bounds__(kThreads) find_first(GreedyItems items, GreedyBest* best) {
  const double largest = __longlong_as_double(static_cast<long long>(best->gain));
  if (!(largest > 0)) return;
  const double limit = __dmul_rn(largest, GreedyPasses::kSameGain);
  for (std::size_t i = blockIdx.x * std::size_t{kThreads} + threadIdx.x; i < items.n;
       i += std::size_t{gridDim.x} * kThreads)
    if (gain(items, i) >= limit) {
      atomicMin(&best->item, static_cast<unsigned long long>(i));
      return;
    }
}

unsigned blocks_for(std::size_t n, std::size_t per_block) {
  return static_cast<unsigned>(std::min<std::size_t>((n + per_block - 1) / per_block, 4096));
}

}  // namespace

cudaError_t launch_deflate(const GreedyItems& items, const float* x, const float* w, double g, double xw,
                           cudaStream_t stream) {
  deflate<<<blocks_for(items.n, kWarps * kAtOnce), kThreads, 0, stream>>>(items, x, w, g, xw);
  return cudaGetLastError();
}

cudaError_t launch_best(const GreedyItems& items, GreedyBest* best, cudaStream_t stream) {
  const cudaError_t error = cudaMemsetAsync(best, 0, sizeof(GreedyBest), stream);
  if (error != cudaSuccess) return error;
  find_largest<<<blocks_for(items.n, kThreads), kThreads, 0, stream>>>(items, best);
  find_first<<<blocks_for(items.n, kThreads), kThreads, 0, stream>>>(items, best);
  return cudaGetLastError();
}

}  // namespace whimbrel::cuda
