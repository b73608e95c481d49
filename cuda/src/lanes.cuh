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

/// Distance of two vectors of d floats, or of what gives floats when indexed, computed by a whole warp. Valid
/// in lane 0 only.
template <class Term, class A, class B>
__device__ float canonical_distance(const A& a, const B& b, std::size_t d, unsigned lane) {
  // The CPU adds zeros for the missing elements of the last block, which changes no bit: a sum that starts at
  // +0 is never -0.
  float sum = 0;
#pragma unroll 4
  for (std::size_t i = lane; i < d; i += kLanes) sum = Term::add(sum, a[i], b[i]);
  for (unsigned half = kLanes / 2; half > 0; half /= 2)
    sum = __fadd_rn(sum, __shfl_down_sync(kAllLanes, sum, half));
  return Term::finish(sum);
}

}  // namespace whimbrel::cuda
