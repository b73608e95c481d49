// Local intrinsic dimensionality on a GPU, from the distances of a k-NN graph.
#pragma once

#include <cuda_runtime_api.h>

#include "whimbrel/lid.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel::cuda {

/// Enqueue on `stream`: estimate_lid of every row of `distances` (whimbrel/lid.hpp has the formulas), in the
/// same order of operations in double precision. The logarithm is the device's, so an estimate can differ
/// from the CPU's by some units in its last place.
///
/// @param distances  (n, k) in device memory, ascending, without the point itself; +inf where missing
/// @param squared    take roots first, rounded to float: for what launch_knn returns with kL2
/// @param out        (n,) in device memory; NaN for a row that is negative, NaN or not ascending
cudaError_t launch_lid(MatrixView<const float> distances, bool squared, LidEstimator estimator, double* out,
                       cudaStream_t stream);

}  // namespace whimbrel::cuda
