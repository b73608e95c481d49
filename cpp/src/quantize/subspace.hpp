// The subspace in which a sample of vectors varies most. Knows nothing of codes.
#pragma once

#include <cstddef>

#include "base/memory.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// An orthonormal basis of nearly the n_columns directions of largest variance of centered rows, first the
/// largest, as (dim, n_columns) values: orthogonal iteration on the covariance (Golub and Van Loan, "Matrix
/// Computations", 8.2.4) from a random start, stopped long before it converges, since any basis that holds
/// nearly as much variance serves. The same bits for any number of threads and instruction set.
///
/// @param n_columns  a multiple of 16, at most rows.cols
AlignedArray<float> principal_subspace(MatrixView<const float> rows, std::size_t n_columns,
                                       std::size_t threads);

}  // namespace whimbrel
