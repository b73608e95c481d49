// The form in which vectors are stored.
#pragma once

#include "hnsw/graph.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Coordinates of an l2 index by falling variance of the first vectors added, if that makes a part of a
/// distance tell enough of the whole to read no more (kernel_table.hpp, BelowKernel); else empty.
std::vector<std::uint32_t> choose_dim_order(const Graph& graph, MatrixView<const float> vectors);

/// Normalized for cosine, coordinates in the index's order, zeros up to the padded length.
void store_row(const Graph& graph, const float* row, float* out);

/// A stored row with the caller's order of coordinates: the row itself, or a copy in `scratch` (dim floats).
const float* caller_row(const Graph& graph, std::uint32_t node, float* scratch);

}  // namespace whimbrel
