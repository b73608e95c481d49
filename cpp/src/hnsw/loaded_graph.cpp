#include "hnsw/loaded_graph.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "whimbrel/errors.hpp"

namespace whimbrel {
namespace {

[[noreturn]] void damaged(const std::string& what) { throw FormatError("file: expected " + what); }

/// A list is other nodes of the level, then kNoNode up to the end.
void check_list(const Graph& graph, std::uint32_t node, std::size_t l) {
  const std::uint32_t* row = graph.links(node, l);
  const std::size_t degree = graph.degree(node, l);
  for (std::size_t i = 0; i < graph.capacity(l); ++i) {
    const bool good =
        i < degree ? row[i] < graph.size() && row[i] != node && graph.level[row[i]] >= l : row[i] == kNoNode;
    if (!good)
      damaged("links to existing nodes, got " + std::to_string(row[i]) + " in the list of " +
              std::to_string(node));
  }
}

}  // namespace

void check_graph(const Graph& graph) {
  if (graph.size() == 0) {
    if (graph.entry != kNoNode || graph.max_level != 0) damaged("no entry point in an empty index");
    return;
  }
  if (graph.entry >= graph.size() || graph.level[graph.entry] != graph.max_level)
    damaged("an entry point on the top level");
  for (std::uint32_t node = 0; node < graph.size(); ++node) {
    if (graph.level[node] > graph.max_level) damaged("no level above the top");
    for (std::size_t l = 0; l <= graph.level[node]; ++l) check_list(graph, node, l);
  }
}

void check_stored(const Graph& graph) {
  for (std::size_t node = 0; node < graph.size(); ++node) {
    const float* row = node < graph.vectors.size() ? graph.vectors.row(node) : nullptr;
    for (std::size_t i = 0; row != nullptr && i < graph.measured_dim(); ++i)
      if (i < graph.dim ? !std::isfinite(row[i]) : std::bit_cast<std::uint32_t>(row[i]) != 0)
        damaged("finite vectors, padded with zeros");
    const kernels::Half* half = node < graph.halves.size() ? graph.halves.row(node) : nullptr;
    for (std::size_t i = 0; half != nullptr && i < graph.halves.stride(); ++i)
      if (i < graph.dim ? (half[i].bits & 0x7c00) == 0x7c00 : half[i].bits != 0)
        damaged("finite vectors, padded with zeros");
    for (std::size_t i = graph.dim; graph.in_bytes() && i < graph.codes.stride(); ++i)
      if (graph.codes.row(node)[i] != 0) damaged("vectors padded with zeros");
  }
}

void check_codes(const Graph& g) {
  if (!g.quantizer.has_tail) return;
  for (std::size_t i = 0; i < g.codes.size(); ++i) {
    float tail;
    std::memcpy(&tail, g.codes.row(i) + g.codes.stride() - sizeof tail, sizeof tail);
    if (!(tail >= 0)) damaged("norms of codes, not negative");
  }
}

void find_live(HnswIndex::Impl& index) {
  Graph& g = index.graph;
  g.live.resize(g.size());
  for (std::uint32_t row = 0; row < g.size(); ++row)
    if (index.ids.id(row) >= 0) g.live.insert(row);
  g.n_linked = g.size();
  index.size = g.live.count();
  if (g.live.count() == g.size()) return;
  if (g.live.count() == 0) damaged("points that are not removed");
  std::vector<bool> hidden(g.size());
  g.live.for_each([&](std::uint32_t node) {
    for (std::size_t l = 0; l <= g.level[node]; ++l)
      for (std::size_t i = 0; i < g.degree(node, l); ++i)
        if (const std::uint32_t other = g.links(node, l)[i]; !g.live.contains(other)) hidden[other] = true;
  });
  if (!g.live.contains(g.entry)) hidden[g.entry] = true;
  g.n_hidden = static_cast<std::size_t>(std::count(hidden.begin(), hidden.end(), true));
}

}  // namespace whimbrel
