#include "hnsw/query.hpp"

#include <cmath>
#include <limits>
#include <optional>

#include "hnsw/byte_rows.hpp"
#include "hnsw/filtered_search.hpp"
#include "hnsw/id_filter.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

/// Vectors on their way while one is measured.
constexpr std::size_t kRowsAhead = 4;

/// Fill the scratch's pool with the best `ef` nodes that are found, of `allowed` if it is not null.
template <class P>
void fill_pool(const Graph& graph, const P& points, typename P::Query query, std::size_t ef,
               std::size_t least, const RowSet* allowed, SearchScratch& scratch, std::uint32_t without) {
  if (without != kNoNode) {
    FilteredSearch(graph, points, graph.live, scratch).run_without(query, ef, without);
  } else if (allowed != nullptr) {
    FilteredSearch(graph, points, *allowed, scratch).run(query, ef, least);
  } else {
    GraphSearch search(graph, points, scratch);
    search.beam(query, 0, search.descend(query, 0), ef, scratch.pool);
  }
}

}  // namespace

Allowed::Allowed(const HnswIndex::Impl& index, std::span<const IdFilter* const> filters) {
  for (const IdFilter* filter : filters)
    rows_.push_back(filter == nullptr ? nullptr : filter->impl().rows(index));
  if (index.graph.n_hidden > 0) all_ = &index.graph.live;
}

Query::Query(const HnswIndex::Impl& index, std::size_t k, std::size_t ef_search, bool exact)
    : index_(index),
      graph_(index.graph),
      kernel_(kernels::metric_kernels(kernels::active_table(), graph_.params.metric).canonical),
      k_(k),
      ef_(std::min(graph_.live.count(), std::max(k, ef_search ? ef_search : graph_.params.ef_search))),
      exact_(exact) {}

void Query::run(VectorsView queries, std::size_t q, const RowSet* allowed, SearchScratch& scratch,
                std::uint32_t without) const {
  if (graph_.in_bytes()) {
    hold_byte_query(graph_, queries, q, scratch);
    return answer(nullptr, allowed, scratch, without);
  }
  const float* row = queries.as<float>().row(q);
  store_row(graph_, row, scratch.query.data());
  // Cosine compares normalized vectors, the other metrics the caller's.
  answer(graph_.params.metric == Metric::kCosine ? scratch.query.data() : row, allowed, scratch, without);
}

void Query::run_node(std::uint32_t node, const RowSet* allowed, SearchScratch& scratch,
                     std::uint32_t without) const {
  if (graph_.in_bytes()) {
    hold_byte_query(graph_, node, scratch);
    return answer(nullptr, allowed, scratch, without);
  }
  float* const stored = scratch.query.data();
  const float* row = stored_row(graph_, node, stored);
  if (row != stored) std::copy_n(row, graph_.dim, stored);
  std::fill(stored + graph_.dim, stored + graph_.padded_dim(), 0.0f);
  if (graph_.dim_order.empty()) return answer(stored, allowed, scratch, without);
  scratch.own.resize(graph_.dim);
  answer(caller_row(graph_, node, scratch.own.data()), allowed, scratch, without);
}

void Query::answer(const float* query, const RowSet* allowed, SearchScratch& scratch,
                   std::uint32_t without) const {
  scratch.counts = {};
  scratch.results.clear();
  if (graph_.live.count() == 0) return;
  if (exact_)
    scan(query, allowed != nullptr ? *allowed : graph_.live, scratch);
  else
    rank(query, find_candidates(allowed, scratch, without), scratch);
}

/// Fill the scratch's pool; how many of its first entries have to be measured exactly to know the k nearest.
std::size_t Query::find_candidates(const RowSet* allowed, SearchScratch& scratch,
                                   std::uint32_t without) const {
  const Pool& pool = scratch.pool;
  if (graph_.quantizer.empty()) {
    with_row_points(graph_, [&]<class P>(const P& points) {
      fill_pool(graph_, points, held_query<P>(scratch), ef_, k_, allowed, scratch, without);
    });
    // Those within rounding of the k-th too.
    constexpr std::uint64_t kNearTie = 64;  // units in the last place
    std::size_t n = std::min(k_, pool.size());
    while (n < pool.size() && pool[n].ulps_above(pool[k_ - 1]) <= kNearTie) ++n;
    return n;
  }
  if (!scratch.codes) scratch.codes.emplace(graph_.quantizer);
  const auto query = graph_.quantizer.encode_query(scratch.query.data(), *scratch.codes);
  // The width was learned for ten results; fewer do not average out the errors of codes. A narrow beam is
  // asked for speed.
  constexpr std::size_t kMinWidth = 16;
  const auto wanted = static_cast<std::size_t>(
      std::ceil(static_cast<double>(k_) * static_cast<double>(graph_.quantizer.rerank)));
  const std::size_t width = std::max(kMinWidth, std::min(wanted, ef_));
  fill_pool(graph_, traversal_points(graph_), query, std::max(ef_, std::min(width, graph_.live.count())), k_,
            allowed, scratch, without);
  const std::size_t n = std::min(width, pool.size());
  for (std::size_t i = 0; i < std::min(kRowsAhead, n); ++i) prefetch_row(graph_, pool[i].node());
  scratch.counts.distances += n;
  return n;
}

void Query::measure(const float* query, std::span<const std::uint32_t> nodes, SearchScratch& scratch,
                    float* out) const {
  if (graph_.measured_once())
    return with_row_points(graph_, [&]<class P>(const P& points) {
      points.distances(held_query<P>(scratch), nodes.data(), nodes.size(), out);
    });
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (i + kRowsAhead < nodes.size()) prefetch_row(graph_, nodes[i + kRowsAhead]);
    out[i] = kernel_(query, caller_row(graph_, nodes[i], scratch.row.data()), graph_.dim);
    // NaN has no place in an order. Overflow can give it, and rows that somebody else may have damaged.
    if (std::isnan(out[i])) out[i] = std::numeric_limits<float>::infinity();
  }
}

/// Fast arithmetic chose; canonical arithmetic is returned.
void Query::rank(const float* query, std::size_t n, SearchScratch& scratch) const {
  const Pool& pool = scratch.pool;
  auto& best = scratch.results;
  auto& nodes = scratch.wide_nodes;
  auto& distances = scratch.wide_distances;
  nodes.clear();
  distances.clear();
  for (std::size_t i = 0; i < n; ++i) {
    nodes.push_back(pool[i].node());
    distances.push_back(pool[i].distance());
  }
  if (!graph_.measured_once()) measure(query, nodes, scratch, distances.data());
  for (std::size_t i = 0; i < n; ++i) best.emplace_back(distances[i], index_.ids.id(nodes[i]));
  std::sort(best.begin(), best.end());
}

/// All rows of the set in canonical arithmetic; the best k are kept as a heap, the worst on top.
void Query::scan(const float* query, const RowSet& rows, SearchScratch& scratch) const {
  constexpr std::size_t kGroup = 256;
  auto& best = scratch.results;
  auto& nodes = scratch.wide_nodes;
  auto& distances = scratch.wide_distances;
  nodes.clear();
  distances.resize(kGroup);
  const auto take = [&] {
    check_stop();
    measure(query, nodes, scratch, distances.data());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::pair candidate(distances[i], index_.ids.id(nodes[i]));
      if (best.size() == k_) {
        if (!(candidate < best.front())) continue;
        std::pop_heap(best.begin(), best.end());
        best.pop_back();
      }
      best.push_back(candidate);
      std::push_heap(best.begin(), best.end());
    }
    scratch.counts.distances += nodes.size();
    nodes.clear();
  };
  rows.for_each([&](std::uint32_t node) {
    nodes.push_back(node);
    if (nodes.size() == kGroup) take();
  });
  take();
  std::sort_heap(best.begin(), best.end());
}

}  // namespace whimbrel
