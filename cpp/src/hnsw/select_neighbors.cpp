#include "hnsw/select_neighbors.hpp"

#include <algorithm>

namespace whimbrel {
namespace {

/// Candidates whose rows come from anywhere are fetched while so many before them are looked at.
constexpr std::size_t kAhead = 6;

/// Whether one of the kept nodes is nearer to the candidate than the base is.
template <class P>
bool dominated(const P& points, Candidate c, Selection<P>& selection) {
  constexpr std::size_t kGroup =
      4;  // of the kernel; the nearest kept nodes, which decide most often, come first
  const auto& kept = selection.kept_nodes;
  if (kept.empty()) return false;
  typename P::Query query = points.query(c.node(), selection.query);
  float distances[kGroup];
  for (std::size_t i = 0; i < kept.size(); i += kGroup) {
    const std::size_t n = std::min(kGroup, kept.size() - i);
    points.distances(query, kept.data() + i, n, distances);
    for (std::size_t j = 0; j < n; ++j)
      if (distances[j] < c.distance()) return true;
  }
  return false;
}

}  // namespace

template <class P>
void select_neighbors(const P& points, std::span<const Candidate> candidates, std::size_t max_kept,
                      std::size_t min_kept, Selection<P>& out) {
  out.kept.clear();
  out.pruned.clear();
  out.kept_nodes.clear();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate c = candidates[i];
    if (out.kept.size() == max_kept) break;
    if constexpr (requires { points.prefetch(c.node()); })
      if (i + kAhead < candidates.size()) points.prefetch(candidates[i + kAhead].node());
    if (dominated(points, c, out)) {
      if (out.pruned.size() < min_kept) out.pruned.push_back(c);
    } else {
      out.kept.push_back(c);
      out.kept_nodes.push_back(c.node());
    }
  }
  if (out.kept.size() < min_kept) {
    const std::size_t missing = std::min(min_kept - out.kept.size(), out.pruned.size());
    out.kept.insert(out.kept.end(), out.pruned.begin(),
                    out.pruned.begin() + static_cast<std::ptrdiff_t>(missing));
    std::sort(out.kept.begin(), out.kept.end());
  }
}

template void select_neighbors(const VectorPoints&, std::span<const Candidate>, std::size_t, std::size_t,
                               Selection<VectorPoints>&);
template void select_neighbors(const HalfPoints&, std::span<const Candidate>, std::size_t, std::size_t,
                               Selection<HalfPoints>&);
template void select_neighbors(const UserPoints&, std::span<const Candidate>, std::size_t, std::size_t,
                               Selection<UserPoints>&);
template void select_neighbors(const PairPoints&, std::span<const Candidate>, std::size_t, std::size_t,
                               Selection<PairPoints>&);
template void select_neighbors(const CanonicalPoints&, std::span<const Candidate>, std::size_t, std::size_t,
                               Selection<CanonicalPoints>&);

}  // namespace whimbrel
