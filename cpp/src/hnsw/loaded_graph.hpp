// What whoever reads an index from a file makes sure of before it is used. All of it throws FormatError.
#pragma once

#include "hnsw/graph.hpp"
#include "hnsw/impl.hpp"

namespace whimbrel {

/// Lists lead to other nodes of their level, and the entry point is on the top level: a search stays in
/// memory.
void check_graph(const Graph& graph);
/// Finite vectors with zeros behind them, as far as there are any.
void check_stored(const Graph& graph);
void check_codes(const Graph& graph);
/// Which rows are there, and how many of the others lists lead to. After the ids; links are sound.
void find_live(HnswIndex::Impl& index);

}  // namespace whimbrel
