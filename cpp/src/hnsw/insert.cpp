// Batches of points search the graph as it stood before the batch, in parallel, and see the points of their
// own batch that come earlier in the order exactly; then the reverse edges are grouped by target and applied.
// Nothing depends on the number of threads. (Batches against a frozen graph: Dobson et al., "Scaling
// graph-based ANNS algorithms to billion-size datasets", 2023. Seeing the earlier points of the batch keeps
// the result close to strictly sequential insertion, so that the order counts as it should.)
#include "hnsw/insert.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <vector>

#include "base/query_panels.hpp"
#include "hnsw/reachability.hpp"
#include "hnsw/search.hpp"
#include "hnsw/select_neighbors.hpp"

namespace whimbrel {
namespace {

/// Largest batch. The all-pairs work inside batches grows with it, the cost of a synchronization per batch
/// shrinks.
constexpr std::size_t kMaxBatch = 2048;
/// The same where there are no tiles, so that every earlier point of a batch is measured: a tenth of the
/// distances of an insertion. Of such a batch, so many points are the work of one thread.
constexpr std::size_t kMaxMeasuredBatch = 256, kMeasuredBlock = 8;
/// Reverse edges are dealt to this many groups by target, each the work of one thread.
constexpr std::size_t kTargetGroups = 64;

/// Looking for what lost its last link reads all lists; smaller additions leave it out.
constexpr std::size_t kReachPerInsertion = 256;

/// A link that `source` made and `target` has to answer.
struct ReverseEdge {
  std::uint32_t target;
  std::uint32_t level;
  std::uint32_t position;  // of the source in the batch
  float distance;
};

/// Links [from, from + n) of a list that changes; none follow.
struct Answer {
  std::uint32_t node, level, from, n;
};

/// Copies of the lists of old nodes from before their first change, for when the insertion fails.
class UndoLog {
 public:
  explicit UndoLog(std::size_t n_old) : saved_(n_old, 0), entry_(kTargetGroups) {}

  /// Called by the one thread that works on the node's group.
  void before_change(const Graph& graph, std::uint32_t node) {
    if (node >= saved_.size() || saved_[node]) return;
    saved_[node] = 1;
    auto& log = entry_[node % kTargetGroups];
    for (std::size_t l = 0; l <= graph.level[node]; ++l)
      log.push_back({node,
                     static_cast<std::uint32_t>(l),
                     {graph.links(node, l), graph.links(node, l) + graph.capacity(l)}});
  }

  void restore(Graph& graph, SliceMutex& state) const {
    for (const auto& log : entry_)
      state.change_each(log.size(), kListsInSlice, [&](std::size_t i) {
        const Saved& s = log[i];
        std::copy(s.links.begin(), s.links.end(), graph.links(s.node, s.level));
      });
  }

 private:
  struct Saved {
    std::uint32_t node, level;
    CountedVector<std::uint32_t> links;
  };
  CountedVector<std::uint8_t> saved_;  // bytes, so that threads do not share a word
  std::vector<std::vector<Saved>> entry_;
};

/// P: what is measured while the graph is built.
template <class P>
class Insertion {
 public:
  Insertion(Graph& graph, const P& points, std::size_t first, std::span<const std::int64_t> order,
            std::size_t threads, bool remember, const RowSet* staying, SliceMutex& state,
            const RowEfforts& efforts)
      : graph_(graph),
        points_(points),
        state_(state),
        staying_(staying),
        efforts_(efforts),
        first_(first),
        table_(kernels::active_table()),
        order_(graph.size() - first),
        n_linked_(first),
        block_(kHasTiles<P> ? table_.tile_cols : kMeasuredBlock),
        threads_(threads),
        undo_(first),
        edge_distances_(graph.links0.stride()) {
    for (std::size_t i = 0; i < order_.size(); ++i)
      order_[i] =
          static_cast<std::uint32_t>(first + (order.empty() ? i : static_cast<std::size_t>(order[i])));
    workers_.reserve(threads);
    for (std::size_t w = 0; w < threads; ++w) workers_.emplace_back(graph, points_, table_, block_);
    if (remember) remember_distances(first);
  }

  void run(ProgressMeter& meter) {
    const std::uint32_t old_entry = graph_.entry;
    const std::size_t old_max_level = graph_.max_level;
    try {
      std::size_t done = 0;
      while (done < order_.size()) {
        const std::size_t n = std::min(batch_size(), order_.size() - done);
        insert_batch({order_.data() + done, n});
        done += n;
        n_linked_ += n;
        meter.update(done);
      }
      if (order_.size() * kReachPerInsertion >= graph_.size() && graph_.params.batch_growth > 1)
        attach_unreached(graph_, points_, workers_[0].search, state_, [&](std::uint32_t node) {
          undo_.before_change(graph_, node);
          meter.update(done);
        });
      meter.finish();  // the last chance to cancel, while there is a way back
    } catch (...) {
      undo_.restore(graph_, state_);
      state_.change([&] {
        graph_.entry = old_entry;
        graph_.max_level = old_max_level;
      });
      throw;
    }
  }

 private:
  /// One thread's scratch.
  struct Worker {
    Worker(const Graph& graph, const P& points, const kernels::KernelTable& table, std::size_t block)
        : search(graph),
          query(points),
          selection(points),
          pools(block),
          panels(table, table.tile_cols, tile_dim(points)),
          nodes(block),
          products(table.tile_rows * table.tile_cols),
          bounds(table.tile_cols),
          scores(table.tile_cols) {}

    SearchScratch search;
    typename P::Scratch query;
    Selection<P> selection;
    std::vector<Pool> pools;  // level 0 of the points of one block
    QueryPanels panels;
    std::vector<std::vector<std::uint32_t>> nodes;  // earlier points of the batch that may be near, by point
    AlignedArray<float> products, bounds, scores;
    std::vector<float> distances;
    std::vector<Candidate> candidates;
    std::vector<ReverseEdge> edges;
    std::vector<Answer> answers;  // not written yet, and their links one after another
    std::vector<std::uint32_t> links;
  };

  static std::size_t tile_dim(const P& points) {
    if constexpr (kHasTiles<P>)
      return points.tile_dim();
    else
      return 0;
  }

  std::size_t batch_size() const {
    const std::size_t most = kHasTiles<P> ? kMaxBatch : kMaxMeasuredBatch;
    const double growth = static_cast<double>(n_linked_) * (graph_.params.batch_growth - 1);
    return static_cast<std::size_t>(std::clamp(growth, 1.0, static_cast<double>(most)));
  }

  /// Distances beside the level-0 links of all nodes save most of the work of pruning.
  void remember_distances(std::size_t n_old) {
    edge_distances_.resize(graph_.size());
    constexpr std::size_t kRows = 1024;
    parallel_for((n_old + kRows - 1) / kRows, threads_, [&](std::size_t item, std::size_t w) {
      for (std::size_t i = item * kRows; i < std::min(n_old, (item + 1) * kRows); ++i) {
        const auto node = static_cast<std::uint32_t>(i);
        points_.distances(points_.query(node, workers_[w].query), graph_.links(node, 0),
                          graph_.degree(node, 0), edge_distances_.row(i));
      }
    });
  }

  void insert_batch(std::span<const std::uint32_t> batch) {
    if (graph_.entry == kNoNode) {  // the first point of all; batches start at one
      state_.change([&] { raise_entry(batch[0]); });
      return;
    }
    gather(batch);
    const std::size_t n_blocks = (batch.size() + block_ - 1) / block_;
    groups_.resize(n_blocks);
    parallel_for(n_blocks, threads_, [&](std::size_t b, std::size_t w) {
      link_forward(batch, b * block_, std::min(batch.size(), (b + 1) * block_), workers_[w], groups_[b]);
    });
    parallel_for(kTargetGroups, threads_,
                 [&](std::size_t g, std::size_t w) { link_back(batch, g, workers_[w]); });
    for (Worker& worker : workers_) write_answers(worker);
    for (const std::uint32_t node : batch)
      if (graph_.level[node] > graph_.max_level) state_.change([&] { raise_entry(node); });
  }

  void raise_entry(std::uint32_t node) {
    graph_.max_level = graph_.level[node];
    graph_.entry = node;
  }

  /// The vectors of the batch side by side for the tiles, and who of the batch reaches which upper level.
  void gather(std::span<const std::uint32_t> batch) {
    if constexpr (kHasTiles<P>) gather_tiles(batch);
    for (std::vector<std::uint32_t>& members : upper_members_) members.clear();
    for (std::size_t i = 0; i < batch.size(); ++i)
      for (std::size_t l = 1; l <= graph_.level[batch[i]]; ++l) {
        if (upper_members_.size() <= l) upper_members_.resize(l + 1);
        upper_members_[l].push_back(static_cast<std::uint32_t>(i));
      }
  }

  void gather_tiles(std::span<const std::uint32_t> batch) {
    const std::size_t stride = points_.tile_dim();
    if (batch_rows_ < round_up(batch.size(), table_.tile_rows)) {
      batch_rows_ = round_up(batch.size(), table_.tile_rows);
      batch_vectors_ = AlignedArray<float>(batch_rows_ * stride);
      terms_.resize(batch_rows_);
    }
    parallel_for((batch.size() + 63) / 64, threads_, [&](std::size_t item, std::size_t) {
      for (std::size_t i = item * 64; i < std::min(batch.size(), (item + 1) * 64); ++i)
        terms_[i] = points_.tile_row(batch[i], batch_vectors_.data() + i * stride);
    });
  }

  // ---- forward links

  void link_forward(std::span<const std::uint32_t> batch, std::size_t begin, std::size_t end, Worker& worker,
                    std::vector<std::vector<ReverseEdge>>& groups) {
    groups.resize(kTargetGroups);
    for (auto& group : groups) group.clear();
    find_candidates(batch, begin, end, worker, groups);
    if constexpr (kHasTiles<P>) {
      offer_earlier_points(batch, begin, end, worker);
    } else {
      for (std::size_t i = begin; i < end; ++i)
        offer(batch[i], batch.first(i), worker, worker.pools[i - begin]);
    }
    for (std::size_t i = begin; i < end; ++i)
      connect(batch[i], i, 0, worker.pools[i - begin], worker, groups);
  }

  std::size_t ef_construction(std::uint32_t node) const {
    const auto& by_row = efforts_.ef_construction;
    return by_row.empty() ? graph_.params.ef_construction : by_row[node - first_];
  }
  std::size_t own_links(std::uint32_t node, std::size_t l) const {
    const auto& by_row = efforts_.links;
    return by_row.empty() ? graph_.params.M
                          : std::min<std::size_t>(by_row[node - first_], graph_.capacity(l));
  }

  /// Link the points on the upper levels, and leave what the graph offers them on level 0 in the worker's
  /// pools.
  void find_candidates(std::span<const std::uint32_t> batch, std::size_t begin, std::size_t end,
                       Worker& worker, std::vector<std::vector<ReverseEdge>>& groups) {
    GraphSearch search(graph_, points_, worker.search);
    for (std::size_t i = begin; i < end; ++i) {
      typename P::Query query = points_.query(batch[i], worker.query);
      const std::size_t level = graph_.level[batch[i]], ef = ef_construction(batch[i]);
      Candidate nearest = search.descend(query, level);
      for (std::size_t l = level; l > 0; --l) {
        Pool& pool = worker.search.pool;
        if (l <= graph_.max_level) {
          search.beam(query, l, nearest, ef, pool);
          nearest = pool[0];
        } else {
          pool.reset(ef);
        }
        offer_upper_members(batch, i, l, worker, pool);
        connect(batch[i], i, l, pool, worker, groups);
      }
      search.beam(query, 0, nearest, ef, worker.pools[i - begin]);
    }
  }

  /// Earlier points of the batch on an upper level: few, so one by one.
  void offer_upper_members(std::span<const std::uint32_t> batch, std::size_t i, std::size_t l, Worker& worker,
                           Pool& pool) {
    auto& nodes = worker.nodes[0];
    nodes.clear();
    for (const std::uint32_t j : upper_members_[l]) {
      if (j >= i) break;
      nodes.push_back(batch[j]);
    }
    offer(batch[i], nodes, worker, pool);
  }

  /// Earlier points of the batch on level 0: tiles of inner products find those that may enter a pool.
  void offer_earlier_points(std::span<const std::uint32_t> batch, std::size_t begin, std::size_t end,
                            Worker& worker) {
    const std::size_t n = end - begin, stride = points_.tile_dim(), cols = table_.tile_cols;
    worker.panels.fill(n, [&](std::size_t c) { return batch_vectors_.data() + (begin + c) * stride; });
    for (std::size_t c = 0; c < cols; ++c) {
      worker.nodes[c].clear();
      worker.bounds[c] = -std::numeric_limits<float>::infinity();
      if (c >= n) continue;
      // distance / scale = term of x - x.q + term of q. The margin makes up for the rounding of the products;
      // who passes is measured again.
      const float q = terms_[begin + c], bound = worker.pools[c].bound();
      worker.bounds[c] = bound / points_.scale() - q + kProductError * (std::abs(q) + std::abs(bound));
    }
    for (std::size_t i = 0; i < end; i += table_.tile_rows) {
      for (std::size_t k = 0; k < stride; k += kernels::kTileDepth)
        table_.tile(batch_vectors_.data() + i * stride + k, stride, worker.panels.panel(0) + k * cols,
                    std::min(kernels::kTileDepth, stride - k), k > 0, worker.products.data());
      for (std::size_t r = 0; r < std::min(table_.tile_rows, end - i); ++r) {
        std::uint64_t hits = table_.select(worker.products.data() + r * cols, cols, terms_[i + r], 1.0f,
                                           worker.bounds.data(), worker.scores.data());
        for (; hits != 0; hits &= hits - 1) {
          const auto c = static_cast<std::size_t>(__builtin_ctzll(hits));
          if (i + r < begin + c) worker.nodes[c].push_back(batch[i + r]);
        }
      }
    }
    for (std::size_t c = 0; c < n; ++c) offer(batch[begin + c], worker.nodes[c], worker, worker.pools[c]);
  }

  void offer(std::uint32_t node, std::span<const std::uint32_t> others, Worker& worker, Pool& pool) {
    worker.distances.resize(others.size());
    points_.distances(points_.query(node, worker.query), others.data(), others.size(),
                      worker.distances.data());
    for (std::size_t j = 0; j < others.size(); ++j)
      if (worker.distances[j] < pool.bound()) pool.insert({worker.distances[j], others[j]});
  }

  /// The new node's own list, and the edges its neighbors have to answer.
  void connect(std::uint32_t node, std::size_t position, std::size_t l, const Pool& pool, Worker& worker,
               std::vector<std::vector<ReverseEdge>>& groups) {
    const std::size_t own = own_links(node, l);
    select_neighbors(points_, to_choose_from(pool, worker), own,
                     l == 0 && graph_.params.keep_pruned ? own : 0, worker.selection);
    write_links(node, l, worker.selection.kept);
    for (const Candidate c : worker.selection.kept)
      groups[c.node() % kTargetGroups].push_back(
          {c.node(), static_cast<std::uint32_t>(l), static_cast<std::uint32_t>(position), c.distance()});
  }

  bool stays(std::uint32_t node) const {
    return staying_ == nullptr || node >= first_ || staying_->contains(node);
  }

  /// Without the rows that are not staying, unless they are nearly all there is.
  std::span<const Candidate> to_choose_from(const Pool& pool, Worker& worker) const {
    if (staying_ != nullptr) {
      worker.candidates.clear();
      std::copy_if(pool.begin(), pool.end(), std::back_inserter(worker.candidates),
                   [&](Candidate c) { return c.node() >= first_ || staying_->contains(c.node()); });
      if (worker.candidates.size() >= graph_.params.M) return worker.candidates;
    }
    return {pool.begin(), pool.end()};
  }

  void write_links(std::uint32_t node, std::size_t l, std::span<const Candidate> links) {
    std::uint32_t* row = graph_.links(node, l);
    for (std::size_t i = 0; i < links.size(); ++i) row[i] = links[i].node();
    std::fill(row + links.size(), row + graph_.capacity(l), kNoNode);
    remember(node, l, links);
  }

  void remember(std::uint32_t node, std::size_t l, std::span<const Candidate> links) {
    if (l == 0 && edge_distances_.size() > 0)
      for (std::size_t i = 0; i < links.size(); ++i) edge_distances_.row(node)[i] = links[i].distance();
  }

  // ---- reverse links

  void link_back(std::span<const std::uint32_t> batch, std::size_t g, Worker& worker) {
    auto& edges = worker.edges;
    edges.clear();
    for (const auto& groups : groups_) edges.insert(edges.end(), groups[g].begin(), groups[g].end());
    std::sort(edges.begin(), edges.end(), [](const ReverseEdge& a, const ReverseEdge& b) {
      return std::tie(a.target, a.level, a.position) < std::tie(b.target, b.level, b.position);
    });
    for (auto from = edges.begin(); from != edges.end();) {
      const auto to = std::find_if(from, edges.end(), [&](const ReverseEdge& e) {
        return e.target != from->target || e.level != from->level;
      });
      answer(batch, {from, to}, worker);
      from = to;
      if (worker.answers.size() == kListsInSlice) write_answers(worker);
    }
  }

  /// Lists that searches read: chosen beside them, and written while they wait.
  void write_answers(Worker& worker) {
    if (worker.answers.empty()) return;
    const auto write = [&] {
      const std::uint32_t* links = worker.links.data();
      for (const Answer& a : worker.answers) {
        std::uint32_t* row = graph_.links(a.node, a.level);
        std::fill(std::copy_n(links, a.n, row + a.from), row + graph_.capacity(a.level), kNoNode);
        links += a.n;
      }
    };
    if (first_ > 0)
      state_.change(write);
    else
      write();  // nothing is there for a search yet
    worker.answers.clear();
    worker.links.clear();
  }

  /// Give one node the reverse edges of a batch: append while there is room, else select again from all.
  void answer(std::span<const std::uint32_t> batch, std::span<const ReverseEdge> edges, Worker& worker) {
    const std::uint32_t node = edges[0].target;
    const std::size_t l = edges[0].level;
    undo_.before_change(graph_, node);
    const std::size_t degree = graph_.degree(node, l), capacity = graph_.capacity(l);
    const std::uint32_t* row = graph_.links(node, l);
    const bool remembered = l == 0 && edge_distances_.size() > 0;
    const auto put = [&](std::size_t from, std::size_t n) {
      worker.answers.push_back({node, static_cast<std::uint32_t>(l), static_cast<std::uint32_t>(from),
                                static_cast<std::uint32_t>(n)});
    };
    if (degree + edges.size() <= capacity) {
      for (std::size_t i = 0; i < edges.size(); ++i) {
        worker.links.push_back(batch[edges[i].position]);
        if (remembered) edge_distances_.row(node)[degree + i] = edges[i].distance;
      }
      return put(degree, edges.size());
    }
    const float* distances = edge_distances_.size() > 0 && l == 0 ? edge_distances_.row(node) : nullptr;
    if (distances == nullptr) {
      worker.distances.resize(degree);
      points_.distances(points_.query(node, worker.query), row, degree, worker.distances.data());
      distances = worker.distances.data();
    }
    auto& candidates = worker.candidates;
    candidates.clear();
    for (std::size_t i = 0; i < degree; ++i)
      if (stays(row[i])) candidates.emplace_back(distances[i], row[i]);
    for (const ReverseEdge& e : edges) candidates.emplace_back(e.distance, batch[e.position]);
    std::sort(candidates.begin(), candidates.end());
    // Filled to three quarters only: a full list would have to be selected again for every new edge.
    select_neighbors(points_, candidates, capacity,
                     l == 0 && graph_.params.keep_pruned ? capacity * 3 / 4 : 0, worker.selection);
    for (const Candidate c : worker.selection.kept) worker.links.push_back(c.node());
    remember(node, l, worker.selection.kept);
    put(0, worker.selection.kept.size());
  }

  /// Relative error allowed for in the tiles' products.
  static constexpr float kProductError = 1e-4f;

  Graph& graph_;
  P points_;
  SliceMutex& state_;
  const RowSet* staying_;
  RowEfforts efforts_;
  std::size_t first_;
  const kernels::KernelTable& table_;
  CountedVector<std::uint32_t> order_;
  std::size_t n_linked_;
  std::size_t block_;  // points of a batch that are the work of one thread
  std::size_t threads_;
  UndoLog undo_;
  BlockRows<float> edge_distances_;  // beside links0, or empty
  std::vector<Worker> workers_;
  // Of the current batch:
  std::size_t batch_rows_ = 0;
  AlignedArray<float> batch_vectors_;
  std::vector<float> terms_;
  std::vector<std::vector<std::uint32_t>> upper_members_;      // by level: positions in the batch
  std::vector<std::vector<std::vector<ReverseEdge>>> groups_;  // by block, by target group
};

}  // namespace

void insert_rows(Graph& graph, std::size_t first, std::span<const std::int64_t> order, std::size_t threads,
                 const RowSet* staying, SliceMutex& state, ProgressMeter& meter, const RowEfforts& efforts) {
  if (graph.size() == first) return meter.finish();
  // A small addition to a large index does without what costs a pass over the whole index.
  const bool large = graph.size() - first >= first / 8;
  with_link_points(graph, large, threads, [&](const auto& points) {
    Insertion(graph, points, first, order, threads, large, staying, state, efforts).run(meter);
  });
}

}  // namespace whimbrel
