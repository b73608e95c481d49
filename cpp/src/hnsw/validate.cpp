// What a graph looks like, and whether it is sound.
#include <algorithm>
#include <vector>

#include "hnsw/impl.hpp"
#include "hnsw/reachability.hpp"

namespace whimbrel {

HnswStats HnswIndex::stats() const {
  const auto lock = impl_->mutex.read();
  const Graph& graph = impl_->graph;
  HnswStats stats;
  stats.size = graph.live.count();
  stats.removed = graph.size() - stats.size;
  stats.max_level = graph.max_level;
  stats.level_sizes.resize(stats.size > 0 ? graph.max_level + 1 : 0);
  stats.degree_histogram.resize(graph.links0.stride() + 1);
  stats.code_dim = graph.quantizer.code_dim;
  stats.projected = !graph.quantizer.columns.empty();
  stats.code_bits = graph.quantizer.empty() ? 0 : graph.quantizer.bits;
  const auto borrowed = [](const auto& rows) { return rows.bytes() - rows.own_bytes(); };
  stats.borrowed_bytes = borrowed(graph.vectors) + borrowed(graph.halves) + borrowed(graph.codes);
  stats.build_seconds = impl_->build_seconds;
  std::size_t edges = 0;
  graph.live.for_each([&](std::uint32_t node) {
    for (std::size_t l = 0; l <= graph.level[node]; ++l) ++stats.level_sizes[l];
    const std::size_t degree = graph.degree(node, 0);
    ++stats.degree_histogram[degree];
    edges += degree;
  });
  if (stats.size > 0) stats.mean_degree = static_cast<double>(edges) / static_cast<double>(stats.size);
  return stats;
}

HnswValidation HnswIndex::validate() const {
  const auto lock = impl_->mutex.read();
  const Graph& graph = impl_->graph;
  HnswValidation result;
  if (graph.size() == 0) return result;
  std::vector<bool> has_in_edge(graph.size());
  std::vector<std::uint32_t> seen;
  for (std::uint32_t node = 0; node < graph.size(); ++node) {
    for (std::size_t l = 0; l <= graph.level[node]; ++l) {
      const std::uint32_t* row = graph.links(node, l);
      seen.assign(row, row + graph.degree(node, l));
      for (const std::uint32_t other : seen) {
        const bool dead = other >= graph.size() || other == node || graph.level[other] < l;
        result.dead_edges += dead;
        if (!dead && l == 0) has_in_edge[other] = true;
      }
      std::sort(seen.begin(), seen.end());
      result.dead_edges += static_cast<std::size_t>(seen.end() - std::unique(seen.begin(), seen.end()));
    }
  }
  std::vector<bool> reached(graph.size());
  mark_reached(graph, graph.entry, reached);
  graph.live.for_each([&](std::uint32_t node) {
    result.no_in_edges += !has_in_edge[node] && node != graph.entry;  // which needs none
    result.unreachable += !reached[node];
  });
  return result;
}

}  // namespace whimbrel
