// Linking new rows into the graph: deterministic, parallel insertion in a given order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"

namespace whimbrel {

/// By position among the new rows; empty: as the parameters of the graph say.
struct RowEfforts {
  std::span<const std::uint32_t> ef_construction, links;
};

/// Link the rows [first, graph.size()), whose vectors and levels are in place and whose lists are empty.
///
/// @param order  first + order[i] is the i-th row to insert; empty: by row number
/// @param staying  null, or the rows below `first` that new ones should link to if they find enough of them
/// @param state  taken for the slices in which lists change that lead to other rows than the new ones
/// @param meter  gets all of its reports here, the last one too
/// If it throws, the rows below `first` are linked as before, and entry and max_level are as before.
void insert_rows(Graph& graph, std::size_t first, std::span<const std::int64_t> order, std::size_t threads,
                 const RowSet* staying, SliceMutex& state, ProgressMeter& meter,
                 const RowEfforts& efforts = {});

}  // namespace whimbrel
