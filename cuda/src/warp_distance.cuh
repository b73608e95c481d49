// The warp type of link_select.hpp on a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lanes.cuh"
#include "link_select.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel::cuda {

template <class Term>
class DistanceWarp {
 public:
  __device__ explicit DistanceWarp(MatrixView<const float> rows) : rows_(rows), lane_(threadIdx.x % kLanes) {}

  __device__ unsigned lane() const { return lane_; }
  static constexpr __device__ unsigned lanes() { return kLanes; }
  __device__ void sync() const { __syncwarp(); }

  /// The nearest kept rows decide most often and come first. The last group repeats its last row.
  __device__ bool nearer(std::uint32_t row, const std::uint64_t* kept, unsigned n, float distance) const {
    for (unsigned i = 0; i < n; i += kGroup) {
      const float* others[kGroup];
#pragma unroll
      for (unsigned u = 0; u < kGroup; ++u) others[u] = row_at(row_of_key(kept[i + u < n ? i + u : n - 1]));
      if (__any_sync(kAllLanes, distance_to_group(row_at(row), others) < distance)) return true;
    }
    return false;
  }

 private:
  static constexpr unsigned kGroup = 4;

  __device__ const float* row_at(std::uint32_t i) const { return rows_.data + i * rows_.stride; }

  /// Canonical distances to a group of rows: that of row u in the lanes whose numbers have u in bits 3 and 4.
  /// Each sum is folded as in lanes.cuh; a lane adds what it keeps to what its partner keeps of the same sum,
  /// and the order of the two does not matter to the bits.
  __device__ float distance_to_group(const float* row, const float* const (&others)[kGroup]) const {
    float sum[kGroup] = {};
#pragma unroll 4
    for (std::size_t i = lane_; i < rows_.cols; i += kLanes) {
      const float x = row[i];
#pragma unroll
      for (unsigned u = 0; u < kGroup; ++u) sum[u] = Term::add(sum[u], x, others[u][i]);
    }
    const bool upper = (lane_ & 16) != 0, odd = (lane_ & 8) != 0;
    const float a = fold_pair(sum[0], sum[2], upper, 16), b = fold_pair(sum[1], sum[3], upper, 16);
    float value = fold_pair(a, b, odd, 8);
#pragma unroll
    for (unsigned half = 4; half > 0; half /= 2)
      value = __fadd_rn(value, __shfl_xor_sync(kAllLanes, value, half));
    return Term::finish(value);
  }

  /// One step of two folds at once: the first goes on in the lanes where `second` is false.
  static __device__ float fold_pair(float x, float y, bool second, unsigned half) {
    const float kept = second ? y : x, given = second ? x : y;
    return __fadd_rn(kept, __shfl_xor_sync(kAllLanes, given, half));
  }

  MatrixView<const float> rows_;
  unsigned lane_;
};

}  // namespace whimbrel::cuda
