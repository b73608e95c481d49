#include "hnsw/reachability.hpp"

#include <algorithm>

namespace whimbrel {
namespace {

template <class P>
class Attachment {
 public:
  Attachment(Graph& graph, const P& points, SearchScratch& scratch, SliceMutex& state,
             const std::function<void(std::uint32_t)>& before_change)
      : graph_(graph),
        points_(points),
        scratch_(scratch),
        query_(points),
        state_(state),
        before_change_(before_change) {}

  void run() {
    const std::uint32_t* row = graph_.links(graph_.entry, 0);
    if (std::none_of(row, row + graph_.degree(graph_.entry, 0),
                     [&](std::uint32_t node) { return has_link(node, graph_.entry); }))
      attach(graph_.entry, std::vector<bool>(graph_.size(), true));
    std::vector<bool> reached(graph_.size());
    mark_reached(graph_, graph_.entry, reached);
    for (std::uint32_t node = 0; node < graph_.size(); ++node) {
      if (reached[node] || graph_.gone(node)) continue;
      attach(node, reached);
      mark_reached(graph_, node, reached);
    }
  }

 private:
  /// Link to a node from its nearest neighbor that is reached and has room; if none of them has, put it
  /// between the nearest and that one's farthest link, so that nothing else is lost.
  void attach(std::uint32_t node, const std::vector<bool>& reached) {
    GraphSearch search(graph_, points_, scratch_);
    typename P::Query query = points_.query(node, query_);
    search.beam(query, 0, search.descend(query, 0), graph_.params.ef_construction, scratch_.pool);
    std::uint32_t from = graph_.entry;  // if upper levels led to a part that level 0 does not lead to
    bool found = false;
    for (const Candidate c : scratch_.pool) {
      if (c.node() == node || !reached[c.node()] || graph_.gone(c.node())) continue;
      const bool room = graph_.degree(c.node(), 0) < graph_.capacity(0);
      if (room || !found) from = c.node();
      found = true;
      if (room) break;
    }
    if (from == node) return;
    const std::uint32_t replaced = put_link(from, node);
    if (replaced != kNoNode) put_link(node, replaced);
  }

  bool has_link(std::uint32_t node, std::uint32_t target) const {
    const std::uint32_t* row = graph_.links(node, 0);
    const std::uint32_t* end = row + graph_.degree(node, 0);
    return std::find(row, end, target) != end;
  }

  /// Append a level-0 link, or put it in place of the farthest, which is returned. Nothing changes if it is
  /// there.
  std::uint32_t put_link(std::uint32_t node, std::uint32_t target) {
    if (has_link(node, target)) return kNoNode;
    before_change_(node);
    std::uint32_t* row = graph_.links(node, 0);
    const std::size_t degree = graph_.degree(node, 0);
    if (degree < graph_.capacity(0)) {
      state_.change([&] { row[degree] = target; });
      return kNoNode;
    }
    float* distances = scratch_.distances.data();
    points_.distances(points_.query(node, query_), row, degree, distances);
    const auto farthest =
        static_cast<std::size_t>(std::max_element(distances, distances + degree) - distances);
    const std::uint32_t replaced = row[farthest];
    state_.change([&] { row[farthest] = target; });
    return replaced;
  }

  Graph& graph_;
  const P& points_;
  SearchScratch& scratch_;
  typename P::Scratch query_;
  SliceMutex& state_;
  const std::function<void(std::uint32_t)>& before_change_;
};

}  // namespace

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

template <class P>
void attach_unreached(Graph& graph, const P& points, SearchScratch& scratch, SliceMutex& state,
                      const std::function<void(std::uint32_t)>& before_change) {
  Attachment<P>(graph, points, scratch, state, before_change).run();
}

template void attach_unreached(Graph&, const VectorPoints&, SearchScratch&, SliceMutex&,
                               const std::function<void(std::uint32_t)>&);
template void attach_unreached(Graph&, const HalfPoints&, SearchScratch&, SliceMutex&,
                               const std::function<void(std::uint32_t)>&);
template void attach_unreached(Graph&, const UserPoints&, SearchScratch&, SliceMutex&,
                               const std::function<void(std::uint32_t)>&);
template void attach_unreached(Graph&, const PairPoints&, SearchScratch&, SliceMutex&,
                               const std::function<void(std::uint32_t)>&);

}  // namespace whimbrel
