// What the kernels of MaxSim are told, and how documents are scored that the fast products did not settle.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lanes.cuh"
#include "query_panels.cuh"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

/// A query token and a stretch of a document that must be looked at as a whole.
struct Doubt {
  std::uint64_t first;  // token
  std::uint32_t n_tokens, slot;
  std::uint64_t out;  // in MaxSimJob::best
};

struct MaxSimJob {
  QueryPanels queries;
  const void* tokens;
  const float* scales;
  std::size_t stride;
  TileShares shares;
  const std::int64_t* offsets;
  std::size_t n_docs;
  // Whole matrix: documents [first, last). Lists: entries [first, last).
  std::size_t first, last;
  const std::int64_t* list_offsets;  // null for the whole matrix
  const std::int64_t* list_ids;
  std::size_t n_queries;
  std::size_t n_valid;  // slots with a token, for the whole matrix
  const std::int64_t* query_offsets;
  unsigned pitch;
  std::uint32_t* best;  // (last - first, best_stride), ordered
  std::size_t best_stride;
  Doubt* doubts;
  unsigned* n_doubts;  // may pass max_doubts; only so many are there
  unsigned max_doubts;
};

/// Floats as unsigned numbers in the same order; 0 is below all of them.
inline __device__ std::uint32_t ordered(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
inline __device__ float unordered(std::uint32_t x) {
  return __uint_as_float(x >> 31 != 0 ? x & 0x7fffffffu : ~x);
}

/// The fold of lanes.cuh for eight sums at once: sum g ends in lanes 4 g .. 4 g + 3. In each of the first
/// three steps a lane gives away half of its sums and adds the other lane's share to the rest.
inline __device__ float fold_eight(float (&sums)[8], unsigned lane) {
#pragma unroll
  for (unsigned half = 16, n = 4; n > 0; half /= 2, n /= 2) {
    const bool upper = (lane & half) != 0;
#pragma unroll
    for (unsigned g = 0; g < n; ++g) {
      const float keep = upper ? sums[g + n] : sums[g];
      const float give = upper ? sums[g] : sums[g + n];
      sums[g] = __fadd_rn(keep, __shfl_xor_sync(kAllLanes, give, half));
    }
  }
  sums[0] = __fadd_rn(sums[0], __shfl_xor_sync(kAllLanes, sums[0], 2));
  return __fadd_rn(sums[0], __shfl_xor_sync(kAllLanes, sums[0], 1));
}

/// The largest canonical product of a query token with the tokens [first, first + n), by a whole warp.
template <class T>
__device__ float scan_tokens(const MaxSimJob& job, unsigned slot, std::size_t first, unsigned n) {
  const unsigned lane = threadIdx.x % kLanes, dim = static_cast<unsigned>(job.queries.dim);
  const float* query = job.queries.rows + std::size_t{slot} * job.queries.n_steps * kLanes;
  const T* rows = static_cast<const T*>(job.tokens) + first * job.stride;
  float largest = -INFINITY;
#pragma unroll 1
  for (unsigned begin = 0; begin < n; begin += 8) {
    float sums[8] = {};
#pragma unroll 2
    for (unsigned i = lane; i < dim; i += kLanes)
#pragma unroll
      for (unsigned g = 0; g < 8; ++g) {
        const unsigned token = min(begin + g, n - 1);  // past the end the last row again
        const float scale = sizeof(T) == 1 ? __ldg(job.scales + first + token) : 1.0f;
        sums[g] =
            Ip::add(sums[g], __ldg(query + i), TokenOperand<T>::widen(rows + token * job.stride + i, scale));
      }
    largest = fmaxf(largest, fold_eight(sums, lane));  // which drops what is not a number
  }
#pragma unroll
  for (unsigned half = 16; half >= 4; half /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, half));
  return largest;
}

constexpr unsigned kScanThreads = 256;

/// The doubts that the scoring left, a warp for each.
template <class T>
__global__ void __launch_bounds__(kScanThreads) scan_doubts(const __grid_constant__ MaxSimJob job) {
  const unsigned n = min(*job.n_doubts, job.max_doubts);
  for (unsigned i = (blockIdx.x * kScanThreads + threadIdx.x) / kLanes; i < n;
       i += gridDim.x * (kScanThreads / kLanes)) {
    const Doubt doubt = job.doubts[i];
    const float largest = scan_tokens<T>(job, doubt.slot, doubt.first, doubt.n_tokens);
    if (threadIdx.x % kLanes == 0) atomicMax(job.best + doubt.out, ordered(largest));
  }
}

}  // namespace whimbrel::cuda
