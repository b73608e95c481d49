// Lists of removed rows do not change in a repair, and a row writes no list but its own: so the rows work at
// once, and nothing depends on the number of threads. (Candidates from the lists of the deleted: Xu et al.,
// "In-Place Updates of a Graph Index for Streaming Approximate Nearest Neighbor Search", 2025, Alg. 3.)
#include "hnsw/repair.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "hnsw/points.hpp"
#include "hnsw/reachability.hpp"
#include "hnsw/search.hpp"
#include "hnsw/select_neighbors.hpp"

namespace whimbrel {
namespace {

/// A repair looks at all lists, so one is due when an eighth of the rows is gone, or when as many rows are to
/// be added that this takes longer.
constexpr std::size_t kMaxGone = 8, kListsPerInsertion = 2048;
/// Rows whose lists are chosen before searches wait for them to be written.
constexpr std::size_t kSlice = 4096, kItem = 64;

/// P: the vectors, in the form in which the index keeps them.
template <class P>
class Repair {
 public:
  Repair(Graph& graph, const P& points, std::size_t threads, SliceMutex& state, ProgressMeter& meter)
      : graph_(graph), points_(points), threads_(threads), state_(state), meter_(meter), lists_(kSlice) {
    for (std::size_t w = 0; w < threads; ++w) workers_.emplace_back(graph, points_);
  }

  void run() {
    for (std::size_t l = 0; l <= graph_.max_level; ++l)
      for_each_slice(
          [&](std::uint32_t node, Worker& worker, List& list) {
            if (l <= graph_.level[node]) replace_gone(node, l, worker, list);
          },
          l);
    choose_entry();
    // Whose neighbors and their neighbors are all gone finds new ones as if it were inserted.
    for_each_slice(
        [&](std::uint32_t node, Worker& worker, List& list) {
          if (graph_.degree(node, 0) == 0) find_links(node, worker, list);
        },
        0);
    attach_unreached(graph_, points_, workers_[0].search, state_,
                     [&](std::uint32_t) { meter_.update(graph_.size()); });
    state_.change([&] {
      for (std::uint32_t node = 0; node < graph_.size(); ++node)
        if (!graph_.live.contains(node)) clear(node);
      graph_.n_hidden = 0;
    });
  }

 private:
  struct Worker {
    Worker(const Graph& graph, const P& points) : search(graph), query(points), selection(points) {}
    SearchScratch search;
    typename P::Scratch query;
    std::vector<std::uint32_t> nodes;
    std::vector<float> distances;
    std::vector<Candidate> candidates;
    Selection<P> selection;
  };
  /// New links of a row, if they changed.
  struct List {
    bool changed = false;
    std::vector<std::uint32_t> links;
  };

  /// fn chooses lists of level l for live rows, in parallel; a slice of them is written at a time.
  template <class Fn>
  void for_each_slice(const Fn& fn, std::size_t l) {
    for (std::size_t begin = 0; begin < graph_.size(); begin += kSlice) {
      const std::size_t n = std::min(graph_.size() - begin, kSlice);
      parallel_for((n + kItem - 1) / kItem, threads_,
                   [&](std::size_t item, std::size_t w) {
                     for (std::size_t i = item * kItem; i < std::min(n, (item + 1) * kItem); ++i) {
                       const auto node = static_cast<std::uint32_t>(begin + i);
                       lists_[i].changed = false;
                       if (graph_.live.contains(node)) fn(node, workers_[w], lists_[i]);
                     }
                   },
                   [&](std::size_t) { meter_.update(begin); });
      state_.change([&] {
        for (std::size_t i = 0; i < n; ++i)
          if (lists_[i].changed) write(static_cast<std::uint32_t>(begin + i), l, lists_[i].links);
        for (std::size_t i = 0; i < n; ++i)
          if (lists_[i].changed) link_back(static_cast<std::uint32_t>(begin + i), l, lists_[i].links);
      });
    }
  }

  void write(std::uint32_t node, std::size_t l, const std::vector<std::uint32_t>& links) {
    std::uint32_t* row = graph_.links(node, l);
    std::copy(links.begin(), links.end(), row);
    std::fill(row + links.size(), row + graph_.capacity(l), kNoNode);
  }

  /// Links in the other direction, where there is room for them.
  void link_back(std::uint32_t node, std::size_t l, const std::vector<std::uint32_t>& links) {
    for (const std::uint32_t other : links) {
      std::uint32_t* row = graph_.links(other, l);
      std::uint32_t* end = row + graph_.degree(other, l);
      if (end < row + graph_.capacity(l) && std::find(row, end, node) == end) *end = node;
    }
  }

  void clear(std::uint32_t node) {
    for (std::size_t l = 0; l <= graph_.level[node]; ++l)
      std::fill_n(graph_.links(node, l), graph_.capacity(l), kNoNode);
  }

  void replace_gone(std::uint32_t node, std::size_t l, Worker& worker, List& list) {
    auto& nodes = worker.nodes;
    nodes.clear();
    const std::uint32_t* row = graph_.links(node, l);
    const std::size_t degree = graph_.degree(node, l);
    for (std::size_t i = 0; i < degree; ++i) {
      if (graph_.live.contains(row[i])) {
        nodes.push_back(row[i]);
        continue;
      }
      list.changed = true;
      const std::uint32_t* theirs = graph_.links(row[i], l);
      for (std::size_t j = 0; j < graph_.degree(row[i], l); ++j)
        if (theirs[j] != node && graph_.live.contains(theirs[j])) nodes.push_back(theirs[j]);
    }
    if (!list.changed) return;
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    worker.distances.resize(nodes.size());
    points_.distances(points_.query(node, worker.query), nodes.data(), nodes.size(), worker.distances.data());
    auto& candidates = worker.candidates;
    candidates.clear();
    for (std::size_t i = 0; i < nodes.size(); ++i) candidates.emplace_back(worker.distances[i], nodes[i]);
    choose(l, worker, list);
  }

  void find_links(std::uint32_t node, Worker& worker, List& list) {
    GraphSearch search(graph_, points_, worker.search);
    typename P::Query query = points_.query(node, worker.query);
    Pool& pool = worker.search.pool;
    search.beam(query, 0, search.descend(query, 0), graph_.params.ef_construction, pool);
    worker.candidates.clear();
    for (const Candidate c : pool)
      if (c.node() != node && graph_.live.contains(c.node())) worker.candidates.push_back(c);
    list.changed = true;
    choose(0, worker, list);
  }

  /// Links among the worker's candidates, as when a list became too long; filled to the same share.
  void choose(std::size_t l, Worker& worker, List& list) {
    const std::size_t capacity = graph_.capacity(l);
    std::sort(worker.candidates.begin(), worker.candidates.end());
    select_neighbors(points_, worker.candidates, capacity,
                     l == 0 && graph_.params.keep_pruned ? capacity * 3 / 4 : 0, worker.selection);
    list.links.clear();
    for (const Candidate c : worker.selection.kept) list.links.push_back(c.node());
  }

  /// The first of the live rows that reach highest.
  void choose_entry() {
    if (graph_.live.contains(graph_.entry)) return;
    std::uint32_t entry = kNoNode;
    graph_.live.for_each([&](std::uint32_t node) {
      if (entry == kNoNode || graph_.level[node] > graph_.level[entry]) entry = node;
    });
    state_.change([&] {
      graph_.entry = entry;
      graph_.max_level = graph_.level[entry];
    });
  }

  Graph& graph_;
  P points_;
  std::size_t threads_;
  SliceMutex& state_;
  ProgressMeter& meter_;
  std::vector<List> lists_;
  std::vector<Worker> workers_;
};

/// Move the rows of a set up.
template <class T>
void keep_rows(BlockRows<T>& rows, const RowSet& kept) {
  std::size_t n = 0;
  kept.for_each([&](std::uint32_t row) {
    if (n != row) std::memcpy(rows.row(n), rows.row(row), rows.stride() * sizeof(T));
    ++n;
  });
  rows.resize(n);
}

}  // namespace

bool worth_repairing(const Graph& graph, std::size_t n_to_add) {
  return graph.n_hidden * kMaxGone >= graph.live.count() || n_to_add * kListsPerInsertion >= graph.size();
}

void repair(Graph& graph, std::size_t threads, SliceMutex& state, ProgressMeter& meter) {
  with_row_points(graph, [&](const auto& points) { Repair(graph, points, threads, state, meter).run(); });
}

void drop_gone_rows(Graph& graph) {
  CountedVector<std::uint32_t> moved(graph.size(), kNoNode);
  RowSet all = RowSet().grown(graph.live.count());
  std::uint32_t n = 0;
  std::size_t n_upper = 0;
  graph.live.for_each([&](std::uint32_t row) { moved[row] = n++; });
  const auto renumber = [&](std::uint32_t* list, std::size_t capacity) {
    for (std::size_t i = 0; i < capacity && list[i] != kNoNode; ++i) list[i] = moved[list[i]];
  };
  graph.live.for_each([&](std::uint32_t row) {
    renumber(graph.links0.row(row), graph.links0.stride());
    const std::size_t from = graph.upper_begin[row];
    graph.upper_begin[row] = static_cast<std::uint32_t>(n_upper);
    for (std::size_t l = 0; l < graph.level[row]; ++l, ++n_upper) {
      std::uint32_t* list = graph.upper_links.row(n_upper);
      if (n_upper != from + l)
        std::memcpy(list, graph.upper_links.row(from + l), graph.upper_links.stride() * sizeof *list);
      renumber(list, graph.upper_links.stride());
    }
  });
  graph.upper_links.resize(n_upper);
  if (graph.halves.size() > 0) keep_rows(graph.halves, graph.live);
  if (graph.vectors.size() > 0) keep_rows(graph.vectors, graph.live);
  if (!graph.code_terms.empty()) {
    CountedVector<kernels::CodeTerms> kept;  // of its own, to give the room back
    kept.reserve(n);
    graph.live.for_each([&](std::uint32_t row) { kept.push_back(graph.code_terms[row]); });
    graph.code_terms = std::move(kept);
  }
  keep_rows(graph.links0, graph.live);
  keep_rows(graph.upper_begin, graph.live);
  if (graph.codes.size() > 0) keep_rows(graph.codes, graph.live);
  keep_rows(graph.level, graph.live);
  graph.entry = n > 0 ? moved[graph.entry] : kNoNode;
  if (n == 0) {
    graph.max_level = 0;
    graph.dim_order.clear();
    graph.quantizer = {};
    graph.codes.resize(0);
  }
  graph.trained_size = std::min<std::size_t>(graph.trained_size, n);
  for (std::uint32_t row = 0; row < n; ++row) all.insert(row);
  graph.live = std::move(all);
  graph.n_hidden = 0;
  graph.n_linked = n;
}

}  // namespace whimbrel
