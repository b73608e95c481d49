#include "hnsw/reachability.hpp"

namespace whimbrel {

std::size_t mark_reached(const Graph& graph, std::uint32_t start, std::vector<bool>& reached) {
  if (reached[start]) return 0;
  std::vector<std::uint32_t> frontier{start};
  reached[start] = true;
  std::size_t n_reached = 1;
  while (!frontier.empty()) {
    const std::uint32_t* row = graph.links(frontier.back(), 0);
    frontier.pop_back();
    for (std::size_t i = 0; i < graph.capacity(0) && row[i] != kNoNode; ++i) {
      if (row[i] >= graph.size() || reached[row[i]]) continue;
      reached[row[i]] = true;
      ++n_reached;
      frontier.push_back(row[i]);
    }
  }
  return n_reached;
}

}  // namespace whimbrel
