// Which nodes a search on level 0 can arrive at, and links to those it cannot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/points.hpp"
#include "hnsw/search.hpp"

namespace whimbrel {

/// Mark `start` and every unmarked node that level-0 links lead to from it, over unmarked nodes. How many.
std::size_t mark_reached(const Graph& graph, std::uint32_t start, std::vector<bool>& reached);

/// End a build: what re-selected lists dropped the last link to (with equal points they always do) gets a
/// link again, and so does the entry point, which a search need not come back to from where it descends.
/// Removed nodes are left where they are.
///
/// @param state          taken while a list changes
/// @param before_change  called with each node whose list is about to change; if it throws, nothing more does
template <class P>
void attach_unreached(Graph& graph, const P& points, SearchScratch& scratch, SliceMutex& state,
                      const std::function<void(std::uint32_t)>& before_change);

}  // namespace whimbrel
