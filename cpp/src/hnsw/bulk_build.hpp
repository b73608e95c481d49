// Linking all rows of an empty graph with the lists of a LevelLinker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Link all rows of the graph, whose vectors and levels are in place and whose lists are empty.
///
/// @param vectors  as the caller gave them
/// @param order    rows in the order of insertion; empty: by row number
/// If it throws, the graph is of no use.
void bulk_link(Graph& graph, MatrixView<const float> vectors, std::span<const std::int64_t> order,
               std::size_t threads, const LevelLinker& link, SliceMutex& state, ProgressMeter& meter);

}  // namespace whimbrel
