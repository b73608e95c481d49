// Lists of removed rows do not change in a repair, and a row writes no list but its own: so the rows work at
// once, and nothing depends on the number of threads. (Candidates from the lists of the deleted: Xu et al.,
// "In-Place Updates of a Graph Index for Streaming Approximate Nearest Neighbor Search", 2025, Alg. 3.)
#include "hnsw/repair.hpp"

#include <algorithm>
#include <utility>
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
/// Rows whose lists are chosen at once, before they are written; rows in a work item.
constexpr std::size_t kChosen = 4096, kItem = 64;
/// Rows in a slice that writes into all of the lists that a row leads to.
constexpr std::size_t kLinkedBack = 32;

/// P: the vectors, in the form in which the index keeps them.
template <class P>
class Repair {
 public:
  Repair(Graph& graph, const P& points, std::size_t threads, SliceMutex& state, ProgressMeter& meter)
      : graph_(graph), points_(points), threads_(threads), state_(state), meter_(meter), lists_(kChosen) {
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
    std::vector<std::uint32_t> gone;
    for (std::uint32_t node = 0; node < graph_.size(); ++node)
      if (!graph_.live.contains(node)) gone.push_back(node);
    state_.change_each(gone.size(), kListsInSlice, [&](std::size_t i) { clear(gone[i]); });
    state_.change([&] { graph_.n_hidden = 0; });
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

  /// fn chooses lists of level l for live rows, in parallel; they are written when those of kChosen rows are.
  template <class Fn>
  void for_each_slice(const Fn& fn, std::size_t l) {
    for (std::size_t begin = 0; begin < graph_.size(); begin += kChosen) {
      const std::size_t n = std::min(graph_.size() - begin, kChosen);
      parallel_for((n + kItem - 1) / kItem, threads_,
                   [&](std::size_t item, std::size_t w) {
                     for (std::size_t i = item * kItem; i < std::min(n, (item + 1) * kItem); ++i) {
                       const auto node = static_cast<std::uint32_t>(begin + i);
                       lists_[i].changed = false;
                       if (graph_.live.contains(node)) fn(node, workers_[w], lists_[i]);
                     }
                   },
                   [&](std::size_t) { meter_.update(begin); });
      changed_.clear();
      for (std::uint32_t i = 0; i < n; ++i)
        if (lists_[i].changed) changed_.push_back(i);
      state_.change_each(changed_.size(), kListsInSlice, [&](std::size_t c) {
        write(static_cast<std::uint32_t>(begin + changed_[c]), l, lists_[changed_[c]].links);
      });
      state_.change_each(changed_.size(), kLinkedBack, [&](std::size_t c) {
        link_back(static_cast<std::uint32_t>(begin + changed_[c]), l, lists_[changed_[c]].links);
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
  std::vector<std::uint32_t> changed_;  // of them
  std::vector<Worker> workers_;
};

/// What was learned from the rows of a graph that has none any more.
void forget_values(Graph& graph) noexcept {
  graph.dim_order.clear();
  graph.quantizer = {};
  graph.codes.resize(0);
}

}  // namespace

bool worth_repairing(const Graph& graph, std::size_t n_to_add) {
  return graph.n_hidden * kMaxGone >= graph.live.count() || n_to_add * kListsPerInsertion >= graph.size();
}

void repair(Graph& graph, std::size_t threads, SliceMutex& state, ProgressMeter& meter) {
  with_row_points(graph, [&](const auto& points) { Repair(graph, points, threads, state, meter).run(); });
}

void keep_live_rows(const Graph& from, Graph& to) {
  CountedVector<std::uint32_t> moved(from.size(), kNoNode);
  const RowSet& live = from.live;
  const bool apart = &from != &to;
  std::uint32_t n = 0;
  std::size_t n_upper = 0;
  live.for_each([&](std::uint32_t row) {
    moved[row] = n++;
    n_upper += from.level[row];
  });
  RowSet all = RowSet().grown(n);
  all.insert_new(0, n);
  CountedVector<kernels::CodeTerms> terms;  // of its own, to give the room back
  if (!from.code_terms.empty()) terms.reserve(n);
  const auto resize = [&](auto& rows, const auto& source, std::size_t size) {
    if (source.size() > 0) rows.resize(size);
  };
  const auto resize_all = [&] {
    resize(to.vectors, from.vectors, n);
    resize(to.halves, from.halves, n);
    resize(to.codes, from.codes, n);
    resize(to.links0, from.links0, n);
    resize(to.upper_begin, from.upper_begin, n);
    resize(to.level, from.level, n);
    resize(to.upper_links, from.upper_links, n_upper);
  };
  const auto renumber = [&](const std::uint32_t* list, std::size_t capacity, std::uint32_t* out) {
    for (std::size_t i = 0; i < capacity; ++i) out[i] = list[i] == kNoNode ? kNoNode : moved[list[i]];
  };
  const auto move = [&](const auto& rows, std::uint32_t row, auto& out, std::uint32_t place) {
    if (rows.size() > 0 && rows.row(row) != out.row(place))
      std::copy_n(rows.row(row), rows.stride(), out.row(place));
  };
  if (apart) {
    to.codes = BlockRows<std::uint8_t>(from.codes.stride());
    resize_all();
  }
  // In place too: rows only move up, in their order.
  n = 0;
  n_upper = 0;
  live.for_each([&](std::uint32_t row) {
    renumber(from.links0.row(row), from.links0.stride(), to.links0.row(n));
    const std::size_t begin = from.upper_begin[row];
    const std::uint8_t level = from.level[row];
    to.upper_begin[n] = static_cast<std::uint32_t>(n_upper);
    to.level[n] = level;
    for (std::size_t l = 0; l < level; ++l, ++n_upper)
      renumber(from.upper_links.row(begin + l), from.upper_links.stride(), to.upper_links.row(n_upper));
    move(from.vectors, row, to.vectors, n);
    move(from.halves, row, to.halves, n);
    move(from.codes, row, to.codes, n);
    if (!from.code_terms.empty()) terms.push_back(from.code_terms[row]);
    ++n;
  });
  to.code_terms = std::move(terms);
  to.entry = n > 0 ? moved[from.entry] : kNoNode;
  to.max_level = n > 0 ? from.max_level : 0;
  to.trained_size = std::min<std::size_t>(from.trained_size, n);
  if (!apart) resize_all();
  to.live = std::move(all);
  to.n_hidden = 0;
  to.n_linked = n;
  if (!apart && n == 0) forget_values(to);
}

void exchange_rows(Graph& graph, Graph& kept) noexcept {
  std::swap(graph.vectors, kept.vectors);
  std::swap(graph.halves, kept.halves);
  std::swap(graph.codes, kept.codes);
  std::swap(graph.code_terms, kept.code_terms);
  std::swap(graph.links0, kept.links0);
  std::swap(graph.upper_begin, kept.upper_begin);
  std::swap(graph.upper_links, kept.upper_links);
  std::swap(graph.level, kept.level);
  std::swap(graph.live, kept.live);
  graph.entry = kept.entry;
  graph.max_level = kept.max_level;
  graph.trained_size = kept.trained_size;
  graph.n_hidden = 0;
  graph.n_linked = kept.n_linked;
  if (graph.size() == 0) forget_values(graph);
}

}  // namespace whimbrel
