// Choosing the lists of a finished graph again, so that they say little about when their points were
// inserted.
#pragma once

#include <cstddef>

#include "base/parallel.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"

namespace whimbrel {

/// Choose all lists of live rows anew: a point searches the graph that there is and chooses among what it
/// finds and its present links; a list is what its point chose and who chose it, by the same rule where they
/// are too many. Then searches for a point itself find it, and every point can be reached.
///
/// @param graph  no list leads to a removed row, as after repair()
/// @param state  taken while lists are exchanged
/// @param meter  in points; gets all of its reports here, the last one too
/// If it throws, the lists are as before.
void refine(Graph& graph, std::size_t threads, SliceMutex& state, ProgressMeter& meter);

}  // namespace whimbrel
