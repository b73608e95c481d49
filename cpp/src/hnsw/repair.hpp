// What removed rows leave behind in a graph: links to them, and in the end their places.
#pragma once

#include <cstddef>

#include "base/parallel.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"

namespace whimbrel {

/// Whether removed rows that lists still lead to are so many that searches are better off without them, or
/// may be left out of the way of so many rows to be added at little cost.
bool worth_repairing(const Graph& graph, std::size_t n_to_add);

/// Take removed rows out of the lists of all others. Who linked to one chooses among the rest of its own list
/// and the lists of those that are gone, by the rule of insertion; then every row can be reached again.
///
/// @param state  taken for the slices in which lists change
/// @param meter  in rows
/// If it throws, the graph is sound, and some lists are repaired.
void repair(Graph& graph, std::size_t threads, SliceMutex& state, ProgressMeter& meter);

/// Drop the rows that are not live from a graph that was repaired; the others move up, in their order.
void drop_gone_rows(Graph& graph);

}  // namespace whimbrel
