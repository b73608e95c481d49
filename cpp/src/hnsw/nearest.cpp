// The searches of HnswIndex for the k nearest: of queries, and of its own points.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "hnsw/query.hpp"

namespace whimbrel {
namespace {

/// The first k results that are not `self`.
void write_results(const SearchScratch& scratch, std::size_t k, std::int64_t self, float shift,
                   std::int64_t* ids, float* distances) {
  std::size_t n = 0;
  for (const auto& [distance, id] : scratch.results) {
    if (n == k) break;
    if (id == self) continue;
    ids[n] = id;
    distances[n++] = distance + shift;
  }
  std::fill(ids + n, ids + k, std::int64_t{-1});
  std::fill(distances + n, distances + k, std::numeric_limits<float>::infinity());
}

void check_efs(std::span<const std::uint32_t> efs, std::size_t n_queries) {
  if (efs.empty()) return;
  if (efs.size() != n_queries)
    throw std::invalid_argument("ef_search: expected one, or one per query, " + std::to_string(n_queries) +
                                ", got " + std::to_string(efs.size()));
  for (const std::uint32_t ef : efs)
    if (ef < 1 || ef > kMaxEf)
      throw std::invalid_argument("ef_search: expected 1 to " + std::to_string(kMaxEf) + ", got " +
                                  std::to_string(ef));
}

}  // namespace

void check_k(std::size_t k) {
  if (k == 0) throw std::invalid_argument("k: expected at least 1, got 0");
  if (k > kMaxNodes) throw std::invalid_argument("k: expected at most 2^31 - 2, got " + std::to_string(k));
}

void check_queries(const HnswIndex::Impl& index, VectorsView queries, std::size_t n_filters,
                   std::size_t threads) {
  index.check_vectors("queries", queries, threads);
  if (n_filters > 1 && n_filters != queries.rows)
    throw std::invalid_argument("filter: expected one, or one per query, " + std::to_string(queries.rows) +
                                ", got " + std::to_string(n_filters));
}

void HnswIndex::search(VectorsView queries, const SearchParams& params, std::int64_t* ids, float* distances,
                       SearchCounts* counts) const {
  const std::size_t k = params.k, threads = resolve_threads(params.threads);
  check_k(k);
  check_queries(*impl_, queries, params.filters.size(), threads);
  check_efs(params.efs, queries.rows);
  ProgressMeter meter(params.progress, queries.rows);
  const std::size_t slice = query_slice(params.exact);
  for (std::size_t begin = 0; begin < queries.rows;) {
    const auto lock = impl_->read();
    const Query query(*impl_, k, params.ef_search, params.exact);
    const Allowed allowed(*impl_, params.filters);
    const float shift = distance_shift(*impl_);
    begin = for_each_query(*impl_, begin, std::min(queries.rows, begin + slice), threads, meter, true,
                           [&](std::size_t q, SearchScratch& scratch) {
                             Query mine = query;
                             if (!params.efs.empty()) mine.set_ef(params.efs[q]);
                             mine.run(queries, q, allowed.of_query(q), scratch);
                             write_results(scratch, k, -1, shift, ids + q * k, distances + q * k);
                             if (counts) counts[q] = scratch.counts;
                           });
  }
  meter.finish();
}

KnnGraph HnswIndex::knn_graph(const SearchParams& params) const {
  const std::size_t k = params.k, threads = resolve_threads(params.threads);
  check_k(k);
  if (params.filters.size() > 1)
    throw std::invalid_argument("filter: expected one, got " + std::to_string(params.filters.size()));
  // All of one state: changes wait, searches need not.
  const auto whole = impl_->mutex.read();
  auto lock = impl_->read();
  const Graph& graph = impl_->graph;
  const Query query(*impl_, k + 1, params.ef_search, params.exact);
  const Allowed allowed(*impl_, params.filters);
  lock.unlock();
  std::vector<std::uint32_t> rows;
  rows.reserve(graph.live.count());
  graph.live.for_each([&](std::uint32_t row) { rows.push_back(row); });
  KnnGraph out;
  out.ids.resize(rows.size());
  out.neighbors.resize(rows.size() * k);
  out.distances.resize(rows.size() * k);
  const float shift = distance_shift(*impl_);
  ProgressMeter meter(params.progress, rows.size());
  for_each_query(*impl_, 0, rows.size(), threads, meter, false, [&](std::size_t i, SearchScratch& scratch) {
    out.ids[i] = impl_->ids.id(rows[i]);
    query.run_node(rows[i], allowed.of_query(0), scratch);
    write_results(scratch, k, out.ids[i], shift, out.neighbors.data() + i * k, out.distances.data() + i * k);
  });
  meter.finish();
  return out;
}

}  // namespace whimbrel
