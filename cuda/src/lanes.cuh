// The canonical arithmetic of cpp/src/kernels/distance_kernels.cpp on a GPU: one warp is its 32 virtual
// lanes.
//
// Numerics. Lane j sums the terms of elements j, j + 32, ... in order; multiply and add are rounded
// separately (the _rn intrinsics are never fused, whatever the compiler flags); the lanes are folded by
// halves 16, 8, 4, 2, 1. So the result has the bits that every CPU gives.
#pragma once

#include <cstddef>

namespace whimbrel::cuda {

constexpr unsigned kLanes = 32;
constexpr unsigned kAllLanes = 0xffffffff;

// One term of each distance, as in the CPU kernels.
struct L2 {
  static __device__ float add(float sum, float a, float b) {
    const float t = __fsub_rn(a, b);
    return __fadd_rn(sum, __fmul_rn(t, t));
  }
  static __device__ float finish(float sum) { return sum; }
};

struct Ip {
  static __device__ float add(float sum, float a, float b) { return __fadd_rn(sum, __fmul_rn(a, b)); }
  static __device__ float finish(float sum) { return -sum; }
};

/// Distances of a vector of d floats to N others, or of what gives floats when indexed, computed by a whole
/// warp: several at once keep several loads under way. Valid in lane 0 only.
template <class Term, unsigned N, class A, class B>
__device__ void canonical_distances(const A& a, const B (&b)[N], std::size_t d, unsigned lane,
                                    float (&out)[N]) {
  // The CPU adds zeros for the missing elements of the last block, which changes no bit: a sum that starts at
  // +0 is never -0.
  float sum[N] = {};
#pragma unroll 4
  for (std::size_t i = lane; i < d; i += kLanes) {
    const float x = a[i];
#pragma unroll
    for (unsigned n = 0; n < N; ++n) sum[n] = Term::add(sum[n], x, b[n][i]);
  }
#pragma unroll
  for (unsigned n = 0; n < N; ++n) {
    for (unsigned half = kLanes / 2; half > 0; half /= 2)
      sum[n] = __fadd_rn(sum[n], __shfl_down_sync(kAllLanes, sum[n], half));
    out[n] = Term::finish(sum[n]);
  }
}

/// One distance.
template <class Term>
__device__ float canonical_distance(const float* a, const float* b, std::size_t d, unsigned lane) {
  const float* const rows[1] = {b};
  float out[1];
  canonical_distances<Term>(a, rows, d, lane, out);
  return out[0];
}

}  // namespace whimbrel::cuda
