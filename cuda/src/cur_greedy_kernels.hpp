// What the host side of CurGreedy calls of the device side.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace whimbrel::cuda {

/// All in device memory.
struct GreedyItems {
  const float* rows;    // (n, dim)
  const float* scales;  // (n,) or null
  double *column, *diagonal;
  std::uint8_t* blocked;
  std::size_t n, dim;
  double tiny;
};

/// The largest gain as the bits of a double, and the first item that is as good; in device memory.
struct GreedyBest {
  unsigned long long gain, item;
};

cudaError_t launch_deflate(const GreedyItems& items, const float* x, const float* w, double g, double xw,
                           cudaStream_t stream);
/// item: n if none has a gain.
cudaError_t launch_best(const GreedyItems& items, GreedyBest* best, cudaStream_t stream);

}  // namespace whimbrel::cuda
