// Distances of all pairs on a GPU, with the bits of the CPU.
#pragma once

#include <cuda_runtime_api.h>

#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::cuda {

/// Enqueue on `stream`: distances[i * data.rows + j] = distance of query i to row j, in canonical arithmetic.
///
/// Nothing is allocated, the host does not wait, and the result does not depend on the device.
///
/// @param data       (n, d) in device memory
/// @param queries    (q, d) in device memory
/// @param metric     for kCosine the rows must have unit length (launch_normalize)
/// @param distances  (q, n) in device memory, C order
/// @returns cudaErrorInvalidValue for other shapes, or what the launch returned. An error while the kernel
///          runs is reported by a later call on the stream, as always.
cudaError_t launch_pairwise_distances(MatrixView<const float> data, MatrixView<const float> queries,
                                      Metric metric, float* distances, cudaStream_t stream);

}  // namespace whimbrel::cuda
