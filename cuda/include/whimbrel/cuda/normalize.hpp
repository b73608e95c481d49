// Rows of unit length on a GPU, with the bits of the CPU.
#pragma once

#include <cuda_runtime_api.h>

#include "whimbrel/matrix_view.hpp"

namespace whimbrel::cuda {

/// Enqueue on `stream`: out[i * rows.cols + j] = rows(i, j) / |row i|, each value rounded once; a zero row
/// stays zero. Nothing is allocated, and the host does not wait.
///
/// @param rows  (n, d) in device memory
/// @param out   (n, d) in device memory, C order; not the memory of `rows`
/// @returns what the launch returned
cudaError_t launch_normalize(MatrixView<const float> rows, float* out, cudaStream_t stream);

}  // namespace whimbrel::cuda
