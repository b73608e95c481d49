// Exact late-interaction scores (MaxSim, or Chamfer similarity) on a GPU, with the bits of the CPU
// (whimbrel/maxsim.hpp says what they are): sum over q in Q of max over p in P of <q, p>.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "whimbrel/cuda/ragged_tokens.hpp"

namespace whimbrel::cuda {

/// Longest token vectors: 2048 coordinates, 1024 of float32 documents.
inline constexpr std::size_t kMaxTokenDim = 2048;

/// What launch_maxsim_matrix needs at least, and what lets it score all documents in one go. With less it
/// goes through the documents in several passes.
struct WorkspaceBytes {
  std::size_t least = 0;
  std::size_t best = 0;
};
WorkspaceBytes maxsim_workspace_bytes(const RaggedTokens& queries, const RaggedTokens& docs);

/// Enqueue on `stream`: scores[i * docs.n_sets + j] = score of query i with document j.
///
/// Nothing is allocated and the host does not wait. Products are found by the tensor cores and those that
/// count are computed again in canonical arithmetic, so scores do not depend on the device or the workspace.
/// A document without tokens scores -inf; a query without tokens scores 0 with every other document.
///
/// @param queries    kFloat32 or kFloat16
/// @param normalize  divide by the number of query tokens
/// @param scores     (queries.n_sets, docs.n_sets) in device memory, C order
/// @param workspace  device memory aligned to 256
/// @returns cudaErrorInvalidValue for other types or dimensions or too small a workspace, or what a launch
///          returned
cudaError_t launch_maxsim_matrix(const RaggedTokens& queries, const RaggedTokens& docs, bool normalize,
                                 float* scores, void* workspace, std::size_t workspace_bytes,
                                 cudaStream_t stream);

/// Documents to score for each query: those of query i are ids[offsets[i]] to ids[offsets[i + 1]]; -1 stands
/// for none and scores -inf. Both in device memory; ids below docs.n_sets.
struct DeviceLists {
  const std::int64_t* offsets = nullptr;  ///< (n_queries + 1,)
  const std::int64_t* ids = nullptr;      ///< (n_ids,)
  std::size_t n_ids = 0;
  std::size_t longest_query = 0;  ///< tokens of the longest query, or more
};

WorkspaceBytes maxsim_lists_workspace_bytes(const RaggedTokens& queries, const RaggedTokens& docs,
                                            const DeviceLists& lists);

/// The same for listed documents: one score per entry of the lists.
cudaError_t launch_maxsim_lists(const RaggedTokens& queries, const RaggedTokens& docs,
                                const DeviceLists& lists, bool normalize, float* scores, void* workspace,
                                std::size_t workspace_bytes, cudaStream_t stream);

}  // namespace whimbrel::cuda
