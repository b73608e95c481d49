// Which candidates become links: the diversity rule of Malkov and Yashunin 2016, Alg. 4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hnsw/points.hpp"
#include "hnsw/search.hpp"

namespace whimbrel {

/// Scratch and result of one selection.
template <class P>
struct Selection {
  explicit Selection(const P& points) : query(points) {}

  std::vector<Candidate> kept;    // in the order of their distance to the base node
  std::vector<Candidate> pruned;  // nearest first; only as many as may be needed
  std::vector<std::uint32_t> kept_nodes;
  typename P::Scratch query;
};

/// Go through `candidates`, nearest to the base first, and keep one unless a kept one is nearer to it than
/// the base is. Stops at `max_kept`. Then, nearest first, put pruned ones back until there are `min_kept`.
/// P: RowPoints, UserPoints, PairPoints or CanonicalPoints.
template <class P>
void select_neighbors(const P& points, std::span<const Candidate> candidates, std::size_t max_kept,
                      std::size_t min_kept, Selection<P>& out);

}  // namespace whimbrel
