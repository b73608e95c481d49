// The block type of block_select.hpp on a GPU.
#pragma once

#include <cstdint>

#include "lanes.cuh"

namespace whimbrel::cuda {

template <unsigned kThreads>
class ThreadBlock {
 public:
  static constexpr unsigned kWarps = kThreads / kLanes;

  /// @param scratch  kWarps + 1 words shared by the block
  __device__ explicit ThreadBlock(std::uint32_t* scratch) : scratch_(scratch) {}

  __device__ unsigned thread() const { return threadIdx.x; }
  static constexpr __device__ unsigned threads() { return kThreads; }
  __device__ unsigned lane() const { return threadIdx.x % kLanes; }
  __device__ unsigned warp() const { return threadIdx.x / kLanes; }
  __device__ void sync() const { __syncthreads(); }
  __device__ std::uint32_t add(std::uint32_t* counter, std::uint32_t n) const {
    return atomicAdd(counter, n);
  }

  __device__ std::uint32_t min(std::uint32_t value) const {
    value = __reduce_min_sync(kAllLanes, value);
    return combine(value, [](std::uint32_t v) { return __reduce_min_sync(kAllLanes, v); }, ~0u);
  }
  __device__ std::uint32_t max(std::uint32_t value) const {
    value = __reduce_max_sync(kAllLanes, value);
    return combine(value, [](std::uint32_t v) { return __reduce_max_sync(kAllLanes, v); }, 0u);
  }

  __device__ std::uint32_t exclusive_sum(std::uint32_t value, std::uint32_t& total) const {
    std::uint32_t inclusive = value;
    for (unsigned step = 1; step < kLanes; step *= 2) {
      const std::uint32_t before = __shfl_up_sync(kAllLanes, inclusive, step);
      if (lane() >= step) inclusive += before;
    }
    __syncthreads();
    if (lane() == kLanes - 1) scratch_[warp()] = inclusive;
    __syncthreads();
    std::uint32_t before = 0;
    total = 0;
    for (unsigned w = 0; w < kWarps; ++w) {
      if (w < warp()) before += scratch_[w];
      total += scratch_[w];
    }
    return before + inclusive - value;
  }

 private:
  template <class Reduce>
  __device__ std::uint32_t combine(std::uint32_t value, Reduce reduce, std::uint32_t neutral) const {
    __syncthreads();
    if (lane() == 0) scratch_[warp()] = value;
    __syncthreads();
    return reduce(lane() < kWarps ? scratch_[lane()] : neutral);
  }

  std::uint32_t* scratch_;
};

}  // namespace whimbrel::cuda
