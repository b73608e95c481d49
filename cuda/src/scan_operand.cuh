// What kernels know of a prepared matrix.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>

#include "error_bound.hpp"
#include "whimbrel/cuda/device_matrix.hpp"

namespace whimbrel::cuda {

/// Row i of the operand is (x_i - center) * scale in fp16, zeros beyond `dim` and beyond `rows`. The bias is
/// half its squared norm with kL2, 0 else, and +inf beyond `rows`: score = bias - product, smaller is nearer.
struct ScanOperand {
  const __half* values;  ///< (padded_rows, depth), at operand_offset
  const float* bias;     ///< (padded_rows,)
  const double* norms;   ///< kCosine: (rows,) norms of the rows; canonical rows are divided by them
  const float* center;   ///< kL2: (dim,)
  std::size_t padded_rows;
  std::size_t depth;  ///< dim padded to whole steps
  double scale;       ///< a power of two
  OperandBounds bounds;
};

}  // namespace whimbrel::cuda
