// From rows to scan operands.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "scan_operand.cuh"
#include "whimbrel/cuda/device_matrix.hpp"

namespace whimbrel::cuda {

/// What the preparation found out about all rows. Maxima of doubles that are not negative, as their bits.
struct RowSummary {
  unsigned long long norm;                     ///< of the centered rows, before scaling
  unsigned long long scaled_norm, lost, bias;  ///< as in OperandBounds
  unsigned long long bad;  ///< number of rows less that of the first row that is not finite; 0: all are
};

/// Where prepared rows go, as in ScanOperand. norms is null but for kCosine; center and means for kL2.
struct RowOperand {
  __half* values;
  float* bias;
  double* norms;
  float* center;
  double* means;  ///< scratch, (dim,)
  RowSummary* summary;
};

/// Enqueue the preparation of rows, at least one of them.
cudaError_t prepare_rows(const DeviceRows& rows, const RowOperand& out, std::size_t padded, std::size_t depth,
                         cudaStream_t stream);
/// The scale that prepare_rows chose.
double operand_scale(const RowSummary& summary, Metric metric);

/// Where prepared queries go: what the scan and the settling read.
struct QueryOperand {
  __half*
      values;   ///< (padded, depth), at operand_offset, negated: the matrix unit adds the product to the bias
  float* rows;  ///< (n, dim) canonical rows
  float* slack;  ///< (n,) how far above the k-th score a neighbor's can be; +inf: scan instead; NaN: refuse
  std::uint32_t* open;  ///< the number of queries that settling leaves open: set to zero
};

/// Enqueue the preparation of queries for a search in `data`, and of zeros up to `padded` queries.
cudaError_t prepare_queries(const DeviceRows& queries, std::size_t padded, const ScanOperand& data,
                            Metric metric, bool certify, const QueryOperand& out, cudaStream_t stream);

}  // namespace whimbrel::cuda
