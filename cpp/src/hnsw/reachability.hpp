// Which nodes a search on level 0 can arrive at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hnsw/graph.hpp"

namespace whimbrel {

/// Mark `start` and every unmarked node that level-0 links lead to from it, over unmarked nodes. How many.
std::size_t mark_reached(const Graph& graph, std::uint32_t start, std::vector<bool>& reached);

}  // namespace whimbrel
