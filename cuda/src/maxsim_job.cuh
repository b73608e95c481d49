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

/// A best token that is one as far as its best product goes; the whole document must be looked at.
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

/// Best tokens to their canonical products, for whole documents: eight query tokens of a document or entry at
/// a time for each warp. Before: one more than the token's number in its document, 0 for none.
template <class T>
__global__ void __launch_bounds__(kScanThreads) multiply_best(const __grid_constant__ MaxSimJob job) {
  const unsigned lane = threadIdx.x % kLanes, dim = static_cast<unsigned>(job.queries.dim);
  const std::size_t depth = job.queries.n_steps * kLanes, groups = job.best_stride / 8;
  const std::size_t n = (job.last - job.first) * groups;
  for (std::size_t i = (blockIdx.x * std::size_t{kScanThreads} + threadIdx.x) / kLanes; i < n;
       i += gridDim.x * std::size_t{kScanThreads / kLanes}) {
    const std::size_t row = i / groups, column = i % groups * 8;
    std::uint32_t* best = job.best + row * job.best_stride + column;
    const std::uint32_t mine = best[lane / 4];
    if (__ballot_sync(kAllLanes, mine != 0) == 0) continue;
    std::size_t doc = job.first + row, slot = column;
    if (job.list_offsets != nullptr) {
      slot += set_of_token(job.list_offsets, job.n_queries, static_cast<std::int64_t>(doc)) *
              job.queries.slots_per_query;
      doc = static_cast<std::size_t>(job.list_ids[doc]);
    }
    const auto first = static_cast<std::size_t>(job.offsets[doc]);
    const auto length = static_cast<unsigned>(job.offsets[doc + 1] - job.offsets[doc]);
    const T* rows = static_cast<const T*>(job.tokens) + first * job.stride + lane;
    const float* query = job.queries.rows + slot * depth + lane;
    const bool all = mine == kLookAtAll;
    const std::uint32_t at = mine == 0 || all ? 0 : mine - 1;
    float sums[8] = {}, scale[8];
    const T* token[8];
#pragma unroll
    for (unsigned g = 0; g < 8; ++g) {
      const std::uint32_t number = __shfl_sync(kAllLanes, at, static_cast<int>(4 * g));
      token[g] = rows + number * job.stride;
      scale[g] = sizeof(T) == 1 ? __ldg(job.scales + first + number) : 1.0f;
    }
    // Zeros behind the last coordinate change no bit.
#pragma unroll 2
    for (unsigned step = 0; step < job.queries.n_steps; ++step)
#pragma unroll
      for (unsigned g = 0; g < 8; ++g)
        sums[g] = Ip::add(
            sums[g], __ldg(query + g * depth + step * kLanes),
            step * kLanes + lane < dim ? TokenOperand<T>::widen(token[g] + step * kLanes, scale[g]) : 0.0f);
    float product = fold_eight(sums, lane);
    for (unsigned left = __ballot_sync(kAllLanes, all && lane % 4 == 0); left != 0; left &= left - 1) {
      const unsigned g = (static_cast<unsigned>(__ffs(static_cast<int>(left))) - 1) / 4;
      const float largest = scan_tokens<T>(job, static_cast<unsigned>(slot) + g, first, length);
      if (lane / 4 == g) product = largest;
    }
    if (lane % 4 == 0 && mine != 0) best[lane / 4] = ordered(product);
  }
}

/// The doubts that the scoring left, and pieces of documents, a warp for each.
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
