#include "hnsw/search.hpp"

#include <cfloat>
#include <cmath>

namespace whimbrel {

template <class P>
void GraphSearch<P>::measure(typename P::Query query, const std::uint32_t* nodes, std::size_t n) {
  points_.distances(query, nodes, n, scratch_.distances.data());
  scratch_.counts.distances += n;
  // NaN has no place in an order, and by its bits it might be the nearest of all; a bound drops it elsewhere.
  for (std::size_t i = 0; i < n; ++i)
    if (std::isnan(scratch_.distances[i])) scratch_.distances[i] = FLT_MAX;
}

template <class P>
Candidate GraphSearch<P>::candidate(typename P::Query query, std::uint32_t node) {
  measure(query, &node, 1);
  return {scratch_.distances[0], node};
}

template <class P>
Candidate GraphSearch<P>::descend(typename P::Query query, std::size_t level) {
  Candidate nearest = candidate(query, graph_.entry);
  for (std::size_t l = graph_.max_level; l > level; --l) {
    for (bool moved = true; moved;) {
      moved = false;
      const std::uint32_t* row = graph_.links(nearest.node(), l);
      std::size_t n = 0;
      while (n < graph_.upper_links.stride() && row[n] != kNoNode) ++n;
      measure(query, row, n);
      for (std::size_t i = 0; i < n; ++i) {
        const Candidate c(scratch_.distances[i], row[i]);
        if (c < nearest) {
          nearest = c;
          moved = true;
        }
      }
    }
  }
  return nearest;
}

template <class P>
void GraphSearch<P>::beam(typename P::Query query, std::size_t level, Candidate from, std::size_t ef,
                          Pool& pool) {
  pool.reset(ef);
  scratch_.visited.clear();
  scratch_.visited.insert(from.node());
  pool.insert({from.distance(), from.node()});  // not expanded on this level yet
  const std::size_t capacity = graph_.capacity(level);
  std::uint32_t* nodes = scratch_.nodes.data();
  float* distances = scratch_.distances.data();
  // Unless an expansion finds something nearer, these are the lists that come next.
  const auto prefetch_next = [&] {
    pool.for_next(kExpanded, [&](std::uint32_t node) {
      const std::uint32_t* next = graph_.links(node, level);
      for (std::size_t i = 0; i < capacity; i += kCacheLine / sizeof(std::uint32_t))
        __builtin_prefetch(next + i);
    });
  };
  while (pool.has_next()) {
    // First pass: which neighbors are new. Second: their distances, with every row on its way before it is
    // needed.
    std::size_t n = 0;
    for (std::size_t i = 0; i < kExpanded && pool.has_next(); ++i) {
      n += scratch_.visited.insert_new(graph_.links(pool.expand_next(), level), capacity, nodes + n);
      count_hop(scratch_.counts);
    }
    prefetch_next();
    scratch_.counts.distances += n;
    n = points_.distances_below(query, nodes, n, pool.bound(), distances);
    pool.insert_all(nodes, distances, n);
    prefetch_next();
  }
}

template class GraphSearch<VectorPoints>;
template class GraphSearch<HalfPoints>;
template class GraphSearch<UserPoints>;
template class GraphSearch<PairPoints>;
template class GraphSearch<ScalarCodePoints>;
template class GraphSearch<ProductCodePoints>;

}  // namespace whimbrel
