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

/// In place of a best product for which there was no room among the doubts. Above all others.
constexpr std::uint32_t kLookAtAll = 0xffffffffu;

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

/// The fold of lanes.cuh where lane t of a group of four has the sums 8 t .. 8 t + 7: in all four lanes. As
/// above, lanes give away what another one adds up.
inline __device__ float fold_quad(float (&sums)[8], unsigned lane) {
  const bool upper = (lane & 2) != 0, odd = (lane & 1) != 0;
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {  // j + 16
    const float keep = upper ? sums[i + 4] : sums[i], give = upper ? sums[i] : sums[i + 4];
    sums[i] = __fadd_rn(keep, __shfl_xor_sync(kAllLanes, give, 2));
  }
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) {  // j + 8
    const float keep = odd ? sums[i + 2] : sums[i], give = odd ? sums[i] : sums[i + 2];
    sums[i] = __fadd_rn(keep, __shfl_xor_sync(kAllLanes, give, 1));
  }
  // j + 4, then 2, then 1. This lane has the sums j = 4 upper + 2 odd and the next.
  const float keep = upper ? sums[1] : sums[0], give = upper ? sums[0] : sums[1];
  float sum = __fadd_rn(keep, __shfl_xor_sync(kAllLanes, give, 2));
  sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 1));
  return __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 2));
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

/// The doubts that the scoring left, a warp for each; and if they were too many, those marked in their place.
template <class T>
__global__ void __launch_bounds__(kScanThreads) scan_doubts(const __grid_constant__ MaxSimJob job) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t warp = (blockIdx.x * std::size_t{kScanThreads} + threadIdx.x) / kLanes;
  const std::size_t n_warps = gridDim.x * std::size_t{kScanThreads / kLanes};
  const unsigned n = *job.n_doubts;
  for (std::size_t i = warp; i < min(n, job.max_doubts); i += n_warps) {
    const Doubt doubt = job.doubts[i];
    const float largest = scan_tokens<T>(job, doubt.slot, doubt.first, doubt.n_tokens);
    if (lane == 0) atomicMax(job.best + doubt.out, ordered(largest));
  }
  if (n <= job.max_doubts) return;
  const std::size_t n_best = (job.last - job.first) * job.best_stride;
  for (std::size_t begin = warp * kLanes; begin < n_best; begin += n_warps * kLanes) {
    const bool marked = begin + lane < n_best && job.best[begin + lane] == kLookAtAll;
    for (unsigned left = __ballot_sync(kAllLanes, marked); left != 0; left &= left - 1) {
      const std::size_t at = begin + static_cast<unsigned>(__ffs(static_cast<int>(left))) - 1;
      std::size_t doc = job.first + at / job.best_stride, slot = at % job.best_stride;
      if (job.list_offsets != nullptr) {
        slot += set_of_token(job.list_offsets, job.n_queries, static_cast<std::int64_t>(doc)) *
                job.queries.slots_per_query;
        doc = static_cast<std::size_t>(job.list_ids[doc]);
      }
      const std::int64_t first = job.offsets[doc], end = job.offsets[doc + 1];
      const float largest = scan_tokens<T>(job, static_cast<unsigned>(slot), static_cast<std::size_t>(first),
                                           static_cast<unsigned>(end - first));
      if (lane == 0) job.best[at] = ordered(largest);
    }
  }
}

}  // namespace whimbrel::cuda
