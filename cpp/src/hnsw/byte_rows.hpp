// Vectors of bytes, stored as they are: the codes of themselves.
#pragma once

#include <cstdint>

#include "hnsw/graph.hpp"
#include "hnsw/search.hpp"
#include "whimbrel/vectors_view.hpp"

namespace whimbrel {

/// Row i of `vectors`, which are of the graph's type, becomes the row of a node.
void put_byte_row(Graph& graph, std::uint32_t node, VectorsView vectors, std::size_t i);
/// The row of a node in the caller's type.
void get_byte_row(const Graph& graph, std::uint32_t node, void* out);
/// Of a stored row, so that distances of PairPoints are those of the metric, as whole numbers.
kernels::CodeTerms byte_terms(const Graph& graph, const std::uint8_t* row);

/// The scratch's query becomes row i of `queries`, or the row of a node.
void hold_byte_query(const Graph& graph, VectorsView queries, std::size_t i, SearchScratch& scratch);
void hold_byte_query(const Graph& graph, std::uint32_t node, SearchScratch& scratch);

/// "float32", "int8" or "uint8"
const char* type_name(VectorType type);

}  // namespace whimbrel
