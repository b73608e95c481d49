// Lists are chosen against a graph that does not change meanwhile, all of a level at once, and exchanged when
// they are complete: so nothing depends on the number of threads, little on the order of insertion, and there
// is a way back. (A second pass of all points over one graph: Subramanya et al., "DiskANN: Fast Accurate
// Billion-point Nearest Neighbor Search on a Single Node", 2019, section 2.4.)
//
// Among its nearest neighbors a point of a tight cluster finds no link out of it; early points of a fortunate
// order have some. What is missing shows when points are searched for: where such a search ends elsewhere,
// that place gets a link to the point.
#include "hnsw/refine.hpp"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "hnsw/points.hpp"
#include "hnsw/reachability.hpp"
#include "hnsw/search.hpp"
#include "hnsw/select_neighbors.hpp"

namespace whimbrel {
namespace {

/// Points of the upper levels look at so many times as many others: they are few and lead everywhere.
constexpr std::size_t kWider = 8;
/// Beam that is to find a point, and the share of a list that may lead to points it did not find.
constexpr std::size_t kNarrow = 4, kLostShare = 4;
/// Points in a work item.
constexpr std::size_t kItem = 64;

/// P: what is measured while links are chosen.
template <class P>
class Refinement {
 public:
  Refinement(Graph& graph, const P& points, std::size_t threads, SliceMutex& state, ProgressMeter& meter)
      : graph_(graph),
        points_(points),
        threads_(threads),
        state_(state),
        meter_(meter),
        links0_(copy(graph.links0)),
        upper_links_(copy(graph.upper_links)),
        old_links0_(copy(graph.links0)),
        old_upper_links_(copy(graph.upper_links)) {
    for (std::size_t w = 0; w < threads; ++w) workers_.emplace_back(graph, points_);
  }

  void run() {
    try {
      for (const bool keep : {true, false}) {
        for (std::size_t l = graph_.max_level + 1; l-- > 0;) link_level(l, keep);
        lead_to_lost();
      }
      attach_unreached(graph_, points_, workers_[0].search, state_,
                       [&](std::uint32_t) { meter_.update(graph_.size()); });
      meter_.finish();  // the last chance to cancel, while there is a way back
    } catch (...) {
      // Into the rows that were there: they stay on the account that they are on.
      put_back(graph_.links0, old_links0_);
      put_back(graph_.upper_links, old_upper_links_);
      throw;
    }
  }

 private:
  struct Worker {
    Worker(const Graph& graph, const P& points) : search(graph), query(points), selection(points) {}
    SearchScratch search;
    typename P::Scratch query;
    std::vector<std::uint32_t> nodes, links;
    std::vector<float> distances;
    std::vector<Candidate> candidates;
    Selection<P> selection;
  };

  static BlockRows<std::uint32_t> copy(const BlockRows<std::uint32_t>& rows) {
    BlockRows<std::uint32_t> out(rows.stride());
    out.resize(rows.size());
    copy_to(out, rows);
    return out;
  }
  static void copy_to(BlockRows<std::uint32_t>& to, const BlockRows<std::uint32_t>& from) noexcept {
    for (std::size_t i = 0; i < from.size(); ++i) std::copy_n(from.row(i), from.stride(), to.row(i));
  }

  void put_back(BlockRows<std::uint32_t>& to, const BlockRows<std::uint32_t>& from) {
    state_.change_each(from.size(), kListsInSlice,
                       [&](std::size_t i) { std::copy_n(from.row(i), from.stride(), to.row(i)); });
  }

  void link_level(std::size_t l, bool keep) {
    members_.clear();
    graph_.live.for_each([&](std::uint32_t node) {
      if (graph_.level[node] >= l) members_.push_back(node);
    });
    for_each(members_, [&](std::uint32_t node, Worker& worker) { choose(node, l, keep, worker); }, l == 0);
    group([&](const auto& add) {
      for (const std::uint32_t node : members_)
        for (const std::uint32_t target : chosen(node, l)) add(target, node);
    });
    for_each(members_, [&](std::uint32_t node, Worker& worker) { answer(node, l, worker); });
    exchange(l);
    if (l == 0) done_ += graph_.size() / 2;
  }

  /// fn(node, worker) for each, in parallel. `counts`: towards the progress.
  template <class Fn>
  void for_each(std::span<const std::uint32_t> nodes, const Fn& fn, bool counts = false) {
    parallel_for((nodes.size() + kItem - 1) / kItem, threads_,
                 [&](std::size_t item, std::size_t w) {
                   for (const std::uint32_t node :
                        nodes.subspan(item * kItem, std::min(kItem, nodes.size() - item * kItem)))
                     fn(node, workers_[w]);
                 },
                 [&](std::size_t items) { meter_.update(done_ + (counts ? items * kItem / 2 : 0)); });
  }

  /// The list that a node is to get.
  std::uint32_t* list(std::uint32_t node, std::size_t l) {
    return l == 0 ? links0_.row(node) : upper_links_.row(graph_.upper_begin[node] + l - 1);
  }
  std::span<const std::uint32_t> chosen(std::uint32_t node, std::size_t l) {
    const std::uint32_t* row = list(node, l);
    return {row, std::find(row, row + graph_.capacity(l), kNoNode)};
  }

  /// Their values: the graph's own arrays are counted on the account of whom they were allocated for.
  void exchange(std::size_t l) {
    state_.change_each(members_.size(), kListsInSlice, [&](std::size_t i) {
      const std::uint32_t node = members_[i];
      std::swap_ranges(list(node, l), list(node, l) + graph_.capacity(l), graph_.links(node, l));
    });
  }

  /// The links that a point wants. `keep`: perhaps among those it has. They are as good as what it finds
  /// where the graph is bad, and a trace of the order of insertion where it is good.
  void choose(std::uint32_t node, std::size_t l, bool keep, Worker& worker) {
    const typename P::Query query = points_.query(node, worker.query);
    GraphSearch search(graph_, points_, worker.search);
    const Pool& pool = worker.search.pool;
    search.beam(query, l, search.descend(query, l), graph_.params.ef_construction * (l > 0 ? kWider : 1),
                worker.search.pool);
    const std::uint32_t* row = graph_.links(node, l);
    worker.nodes.assign(row, row + (keep ? graph_.degree(node, l) : 0));
    for (const Candidate c : pool) worker.nodes.push_back(c.node());
    measure(node, worker);
    select(l, graph_.capacity(l), worker);
    write(list(node, l), l, worker);
  }

  /// The list of a point: what it chose and who chose it.
  void answer(std::uint32_t node, std::size_t l, Worker& worker) {
    const auto own = chosen(node, l);
    worker.nodes.assign(own.begin(), own.end());
    const auto others = sources(node);
    worker.nodes.insert(worker.nodes.end(), others.begin(), others.end());
    measure(node, worker);
    if (worker.candidates.size() > graph_.capacity(l))
      select(l, graph_.capacity(l), worker);
    else
      worker.selection.kept = worker.candidates;
    write(list(node, l), l, worker);
  }

  /// What narrow searches for points of level 0 do not find is linked from where they end.
  void lead_to_lost() {
    CountedVector<std::uint32_t> ends(graph_.size(), kNoNode);
    for_each(members_, [&](std::uint32_t node, Worker& worker) {
      const typename P::Query query = points_.query(node, worker.query);
      GraphSearch search(graph_, points_, worker.search);
      const Pool& pool = worker.search.pool;
      search.beam(query, 0, search.descend(query, 0), kNarrow, worker.search.pool);
      if (std::none_of(pool.begin(), pool.end(), [&](Candidate c) { return c.node() == node; }))
        ends[node] = pool[0].node();
    });
    group([&](const auto& add) {
      for (const std::uint32_t node : members_)
        if (ends[node] != kNoNode) add(ends[node], node);
    });
    std::erase_if(members_, [&](std::uint32_t node) { return sources(node).empty(); });
    for_each(members_, [&](std::uint32_t node, Worker& worker) { take_in(node, worker); });
    exchange(0);
  }

  /// Links to some of the lost, in directions of their own; the rest of the list is chosen among its links.
  void take_in(std::uint32_t node, Worker& worker) {
    const std::size_t capacity = graph_.capacity(0);
    const auto lost = sources(node);
    worker.nodes.assign(lost.begin(), lost.end());
    measure(node, worker);
    select_neighbors(points_, worker.candidates, std::max<std::size_t>(1, capacity / kLostShare), 0,
                     worker.selection);
    worker.links.clear();
    for (const Candidate c : worker.selection.kept) worker.links.push_back(c.node());
    const std::uint32_t* row = graph_.links(node, 0);
    worker.nodes.clear();
    std::copy_if(row, row + graph_.degree(node, 0), std::back_inserter(worker.nodes), [&](std::uint32_t n) {
      return std::find(worker.links.begin(), worker.links.end(), n) == worker.links.end();
    });
    measure(node, worker);
    if (worker.candidates.size() + worker.links.size() > capacity)
      select(0, capacity - worker.links.size(), worker);
    else
      worker.selection.kept = worker.candidates;
    write(list(node, 0), 0, worker);
    std::copy(worker.links.begin(), worker.links.end(), list(node, 0) + worker.selection.kept.size());
  }

  /// Deal out sources by target: fill(add) calls add(target, source), twice with the same.
  template <class Fill>
  void group(const Fill& fill) {
    begin_.assign(graph_.size() + 1, 0);
    fill([&](std::uint32_t target, std::uint32_t) { ++begin_[target + 1]; });
    std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
    sources_.resize(begin_.back());
    CountedVector<std::size_t> next(begin_.begin(), begin_.end() - 1);
    fill([&](std::uint32_t target, std::uint32_t source) { sources_[next[target]++] = source; });
  }
  std::span<const std::uint32_t> sources(std::uint32_t target) const {
    return std::span(sources_).subspan(begin_[target], begin_[target + 1] - begin_[target]);
  }

  /// Make candidates of the worker's nodes: each once, without the point itself, nearest first.
  void measure(std::uint32_t node, Worker& worker) {
    auto& nodes = worker.nodes;
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    std::erase(nodes, node);
    worker.distances.resize(nodes.size());
    points_.distances(points_.query(node, worker.query), nodes.data(), nodes.size(), worker.distances.data());
    worker.candidates.clear();
    for (std::size_t i = 0; i < nodes.size(); ++i)
      worker.candidates.emplace_back(worker.distances[i], nodes[i]);
    std::sort(worker.candidates.begin(), worker.candidates.end());
  }

  /// Level-0 lists are filled to the end: what comes later is selected for them again.
  void select(std::size_t l, std::size_t most, Worker& worker) {
    select_neighbors(points_, worker.candidates, most, l == 0 && graph_.params.keep_pruned ? most : 0,
                     worker.selection);
  }

  void write(std::uint32_t* row, std::size_t l, const Worker& worker) {
    const auto& kept = worker.selection.kept;
    for (std::size_t i = 0; i < kept.size(); ++i) row[i] = kept[i].node();
    std::fill(row + kept.size(), row + graph_.capacity(l), kNoNode);
  }

  Graph& graph_;
  P points_;
  std::size_t threads_;
  SliceMutex& state_;
  ProgressMeter& meter_;
  BlockRows<std::uint32_t> links0_, upper_links_;  // being chosen; of the shape of the graph's
  BlockRows<std::uint32_t> old_links0_, old_upper_links_;
  std::size_t done_ = 0;
  CountedVector<std::uint32_t> members_;  // nodes at work
  CountedVector<std::size_t> begin_;      // of the sources of each target
  CountedVector<std::uint32_t> sources_;
  std::vector<Worker> workers_;
};

}  // namespace

void refine(Graph& graph, std::size_t threads, SliceMutex& state, ProgressMeter& meter) {
  with_link_points(graph, true, threads,
                   [&](const auto& points) { Refinement(graph, points, threads, state, meter).run(); });
}

}  // namespace whimbrel
