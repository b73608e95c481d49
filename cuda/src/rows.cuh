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

/// The canonical distances of a query, canonical already, to N rows: what is returned, less the 1 of the
/// cosine. By a whole warp, valid in lane 0.
template <unsigned N>
__device__ void distances_to_rows(const float* query, const DeviceRows& rows, Metric metric,
                                  const double* norms, const std::uint32_t (&ids)[N], unsigned lane,
                                  float (&out)[N]) {
  with_row(rows, 0, [&](const auto* first) {
    using T = std::remove_cvref_t<decltype(*first)>;
    if (metric == Metric::kCosine) {
      UnitRow<T> unit[N];
#pragma unroll
      for (unsigned n = 0; n < N; ++n) unit[n] = {first + ids[n] * rows.stride, norms[ids[n]]};
      canonical_distances<Ip>(query, unit, rows.cols, lane, out);
      return;
    }
    PlainRow<T> plain[N];
#pragma unroll
    for (unsigned n = 0; n < N; ++n) plain[n] = {first + ids[n] * rows.stride};
    if (metric == Metric::kL2)
      canonical_distances<L2>(query, plain, rows.cols, lane, out);
    else
      canonical_distances<Ip>(query, plain, rows.cols, lane, out);
  });
}

}  // namespace whimbrel::cuda
