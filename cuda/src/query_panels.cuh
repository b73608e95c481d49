// Query tokens as the first operand of products: scaled, in halves, in the order in which lanes want them,
// with what the certificate needs to know of each. Written once per call by prepare_queries.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "whimbrel/cuda/ragged_tokens.hpp"

namespace whimbrel::cuda {

/// Slots are query tokens in panels: all of them one after another (slots_per_query = 0), or with
/// slots_per_query slots for each query, the last of them empty. Empty slots are zeros.
struct QueryPanels {
  std::size_t n_slots = 0;  // a multiple of the panel
  std::size_t slots_per_query = 0;
  std::size_t dim = 0;
  std::size_t n_steps = 0;
  uint4* operand = nullptr;      // operand_index, one after another in tiles of 16 slots
  uint4* operand_low = nullptr;  // what the halves lack; null where they lack nothing
  float* rows = nullptr;         // (n_slots, n_steps * 32), as they are, zeros behind
  // Per slot: twice the bound of a product per length of the document token, twice its constant part, the
  // norm, and nothing.
  float4* facts = nullptr;

  /// Place the arrays in memory aligned to 256. @returns the bytes they take
  std::size_t place(void* memory, bool split);
};

/// @param n_products  in a row that add to one sum of maxsim
cudaError_t prepare_queries(const RaggedTokens& queries, const QueryPanels& panels, std::size_t n_products,
                            bool split_docs, cudaStream_t stream);

}  // namespace whimbrel::cuda
