// Exact nearest neighbors on a GPU: ids and distances have the bits of whimbrel::knn on the CPU.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "whimbrel/cuda/device_matrix.hpp"

namespace whimbrel::cuda {

/// The largest k of launch_knn.
inline constexpr std::size_t kMaxK = 1024;

/// How neighbors are found. Distances are canonical in either case.
enum class KnnPrecision : std::uint8_t {
  kAuto,  ///< exact: candidates from fp16 products, as many as a bound of their error demands; queries for
          ///< which that is not enough are scanned in canonical arithmetic
  kFast,  ///< the nearest by fp16 products; a neighbor may be missing where distances differ by less than
          ///< the rounding of the products
};

/// Which rows a query may find. Other than kAll: the queries are rows of the data, query i is row
/// first_row + i.
enum class KnnScope : std::uint8_t {
  kAll,
  kOthers,   ///< all rows but the query's own (by number: duplicates of a row are its neighbors)
  kEarlier,  ///< the rows before the query's own; about half the work
};

struct KnnOptions {
  std::size_t k = 10;  ///< 1 to kMaxK
  KnnPrecision precision = KnnPrecision::kAuto;
  KnnScope scope = KnnScope::kAll;
  std::size_t first_row = 0;  ///< unused with kAll
};

/// How a search went; in device memory, written by the search.
struct KnnStats {
  unsigned long long certified;   ///< queries answered from fp16 candidates, proven exact (kFast: not proven)
  unsigned long long scanned;     ///< queries answered by a scan in canonical arithmetic
  unsigned long long not_finite;  ///< queries with a NaN or infinity
  unsigned long long candidates;  ///< canonical distances computed for the certified queries
};

/// Bytes of workspace with which launch_knn runs at full speed; it accepts less, down to
/// knn_min_workspace_bytes, and then goes through the queries in smaller chunks.
std::size_t knn_workspace_bytes(const DeviceMatrix& data, std::size_t n_queries, const KnnOptions& options);
std::size_t knn_min_workspace_bytes(const DeviceMatrix& data, std::size_t n_queries,
                                    const KnnOptions& options);

/// Enqueue on `stream`: the k rows of `data` nearest to each query, nearest first, equal distances by row
/// number. The metric is that of `data`. Nothing is allocated and the host does not wait.
///
/// What is missing (fewer than k rows in scope, or distances that overflow float) is id -1, distance +inf. A
/// query with a NaN or infinity gets ids -1 and distances NaN and is counted in `stats`.
///
/// @param queries    (q, d) in device memory, of any element type
/// @param ids        (q, k) in device memory, C order
/// @param distances  (q, k) in device memory, C order; squared for kL2, negated products for kIp
/// @param stats      in device memory, or null
/// @param workspace  aligned to 256; free again when the stream has passed this call
/// @returns cudaErrorInvalidValue for k out of range, different dimensions, queries outside the data with a
///          scope other than kAll, or too small a workspace; else what the launches returned
cudaError_t launch_knn(const DeviceMatrix& data, DeviceRows queries, const KnnOptions& options,
                       std::int64_t* ids, float* distances, KnnStats* stats, void* workspace,
                       std::size_t workspace_bytes, cudaStream_t stream);

}  // namespace whimbrel::cuda
