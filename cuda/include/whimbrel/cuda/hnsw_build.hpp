// Building HNSW indexes on a GPU: the linker of whimbrel::HnswIndex::bulk_build for a device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::cuda {

/// Rows a level can have.
inline constexpr std::size_t kMaxLinkRows = 0x7ffffffe;

/// How one level is linked (whimbrel/hnsw.hpp, LevelToLink).
struct LinkRule {
  Metric metric = Metric::kL2;  ///< kL2 or kIp
  unsigned own = 0, own_filled = 0;
  unsigned capacity = 0, filled = 0;
};

/// Enqueue on `stream`: the links that rows [first, first + n) choose, own (rows.rows, rule.own).
///
/// @param rows            all rows of the level, in device memory
/// @param ids, distances  (n, k) in device memory: candidates as launch_knn gives them, of scope kEarlier
/// @param own             in device memory; row i gets distance and row number in one key, nearest first
/// @returns cudaErrorInvalidValue for another metric, or rows that do not exist
cudaError_t launch_choose_links(MatrixView<const float> rows, std::size_t first, std::size_t n, std::size_t k,
                                const std::int64_t* ids, const float* distances, const LinkRule& rule,
                                std::uint64_t* own, cudaStream_t stream);

/// Enqueue on `stream`: lists (rows.rows, rule.capacity) of what each row chose and of the rows that chose
/// it, selected again where these are too many; kNoLink behind the last. All in device memory.
///
/// @param workspace  of answer_links_workspace_bytes, aligned to 256
cudaError_t launch_answer_links(MatrixView<const float> rows, const LinkRule& rule, const std::uint64_t* own,
                                std::uint32_t* lists, void* workspace, std::size_t workspace_bytes,
                                cudaStream_t stream);
std::size_t answer_links_workspace_bytes(std::size_t n, const LinkRule& rule);

/// Milliseconds of the device, all levels together.
struct LinkTimes {
  float upload = 0;  ///< and preparation of the rows
  float candidates = 0;
  float choose = 0;
  float answer = 0;
  float download = 0;
};

/// The lists of whimbrel::link_nearest(knn_earlier), bit for bit, made on the current device. Works on
/// `stream` and waits for it. Needs about 4 d + 2 d + 60 M bytes a row and 2 GB of device memory.
///
/// The linker throws CudaError, and std::invalid_argument for ef_construction above kMaxK (knn.hpp).
/// @param times  added to at each level, or null; outlives the linker
LevelLinker link_nearest(cudaStream_t stream = nullptr, LinkTimes* times = nullptr);

}  // namespace whimbrel::cuda
