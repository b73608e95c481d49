// Rows of any element type as the floats they equal, and normalized as the CPU does it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "lanes.cuh"
#include "whimbrel/cuda/device_matrix.hpp"

namespace whimbrel::cuda {

inline __device__ float to_float(float x) { return x; }
inline __device__ float to_float(__half x) { return __half2float(x); }
inline __device__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
inline __device__ float to_float(std::int8_t x) { return static_cast<float>(x); }

/// A row, by element.
template <class T>
struct PlainRow {
  const T* values;
  __device__ float operator[](std::size_t i) const { return to_float(values[i]); }
};

/// A row divided by its norm, each value rounded once; a zero row stays zero (cpp/src/base/vectors.cpp).
template <class T>
struct UnitRow {
  const T* values;
  double norm;
  __device__ float operator[](std::size_t i) const {
    return norm > 0 ? static_cast<float>(__ddiv_rn(static_cast<double>(to_float(values[i])), norm)) : 0.0f;
  }
};

/// Calls f with a pointer to row i of its own type.
template <class F>
__device__ auto with_row(const DeviceRows& rows, std::size_t i, F f) {
  const std::size_t first = i * rows.stride;
  switch (rows.type) {
    case ElementType::kF16:
      return f(static_cast<const __half*>(rows.data) + first);
    case ElementType::kBf16:
      return f(static_cast<const __nv_bfloat16*>(rows.data) + first);
    case ElementType::kI8:
      return f(static_cast<const std::int8_t*>(rows.data) + first);
    default:
      return f(static_cast<const float*>(rows.data) + first);
  }
}

/// The canonical distance of a query, canonical already, to row i: what is returned, less the 1 of the
/// cosine. By a whole warp, valid in lane 0.
inline __device__ float distance_to_row(const float* query, const DeviceRows& rows, Metric metric,
                                        const double* norms, std::size_t i, unsigned lane) {
  return with_row(rows, i, [&](const auto* row) {
    using T = std::remove_cvref_t<decltype(*row)>;
    if (metric == Metric::kL2) return canonical_distance<L2>(query, PlainRow<T>{row}, rows.cols, lane);
    if (metric == Metric::kIp) return canonical_distance<Ip>(query, PlainRow<T>{row}, rows.cols, lane);
    return canonical_distance<Ip>(query, UnitRow<T>{row, norms[i]}, rows.cols, lane);
  });
}

}  // namespace whimbrel::cuda
