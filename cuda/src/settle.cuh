// From the minima of a scan to neighbors.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "prepare.cuh"
#include "scan.cuh"
#include "scan_operand.cuh"
#include "whimbrel/cuda/knn.hpp"

namespace whimbrel::cuda {

/// The queries that settling left to a scan in canonical arithmetic, in any order.
struct OpenQueries {
  std::uint32_t* list;   ///< (n_queries,)
  std::uint32_t* count;  ///< as QueryOperand::open
};

/// What the kernels behind the scan share.
struct SettleTask {
  DeviceRows data;
  ScanOperand operand;
  Metric metric;
  QueryOperand queries;
  std::size_t n_queries, first_row;
  KnnScope scope;
  unsigned k;
  OpenQueries open;
  std::int64_t* ids;
  float* distances;
  KnnStats* stats;  ///< or null
};

/// Choose, compute and write the neighbors of each query, or put it on the list.
cudaError_t launch_settle(const SettleTask& task, const ScanPlan& plan, const Minima& minima,
                          const DeviceLimits& limits, cudaStream_t stream);

/// Answer the queries on the list by looking at every row. Their best of each of `segments` parts of the
/// rows go through `partial`: (n_queries, segments, k).
cudaError_t launch_rescan(const SettleTask& task, unsigned segments, std::uint64_t* partial,
                          const DeviceLimits& limits, cudaStream_t stream);

/// n results of "nothing found".
cudaError_t fill_missing(std::int64_t* ids, float* distances, std::size_t n, cudaStream_t stream);

}  // namespace whimbrel::cuda
