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

/// The live rows alone, of a graph that was repaired, moved up in their order: in place or, beside searches,
/// into an empty graph for `exchange_rows`. @throws std::bad_alloc, with nothing changed
void keep_live_rows(const Graph& from, Graph& to);
/// Give a graph the rows that were kept of it; the old ones are left there.
void exchange_rows(Graph& graph, Graph& kept) noexcept;

}  // namespace whimbrel
