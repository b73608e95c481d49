// Checksums that recognize vectors which are not in their index's file.
#pragma once

#include <cstdint>

#include "hnsw/graph.hpp"

namespace whimbrel {

/// The section VSUM, byte for byte: of the vectors in the caller's order of coordinates.
struct VectorSums {
  std::uint64_t sample, all;
};
static_assert(sizeof(VectorSums) == 16);

/// @param all  or else only the sample's
VectorSums sum_vectors(const Graph& graph, bool all);

}  // namespace whimbrel
