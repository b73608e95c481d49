// HnswIndex: the public calls, their checks, and the order in which state changes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "base/parallel.hpp"
#include "base/vectors.hpp"
#include "hnsw/bulk_build.hpp"
#include "hnsw/codes.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/insert.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

constexpr std::uint32_t kMaxM = 512;
constexpr std::uint32_t kMaxEf = 1000000;
constexpr std::size_t kMaxDim = std::size_t{1} << 20;

template <class T>
void check_range(const char* name, T got, T low, T high) {
  if (got < low || got > high)
    throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(low) + " to " +
                                std::to_string(high) + ", got " + std::to_string(got));
}

void check_order(std::span<const std::int64_t> order, std::size_t n) {
  if (order.empty()) return;
  if (order.size() != n)
    throw std::invalid_argument("order: expected " + std::to_string(n) + " values, got " +
                                std::to_string(order.size()));
  std::vector<bool> seen(n);
  for (const std::int64_t i : order) {
    if (i < 0 || static_cast<std::size_t>(i) >= n || seen[static_cast<std::size_t>(i)])
      throw std::invalid_argument("order: expected each of 0 to " + std::to_string(n - 1) + " once, got " +
                                  std::to_string(i) +
                                  (i < 0 || static_cast<std::size_t>(i) >= n ? "" : " twice"));
    seen[static_cast<std::size_t>(i)] = true;
  }
}

/// Room for rows [first, n): vectors stored, levels drawn, lists empty.
void append_rows(Graph& graph, std::size_t first, MatrixView<const float> vectors, std::size_t threads) {
  const std::size_t n = first + vectors.rows;
  if (first == 0 && graph.params.codec == Codec::kF32) graph.dim_order = choose_dim_order(graph, vectors);
  resize_rows(graph, n);
  graph.links0.resize(n);
  graph.upper_begin.resize(n);
  graph.level.resize(n);
  std::size_t upper = graph.upper_links.size();
  for (std::size_t i = first; i < n; ++i) {
    graph.level[i] = random_level(graph.params.seed, i, graph.params.M);
    graph.upper_begin[i] = static_cast<std::uint32_t>(upper);
    upper += graph.level[i];
  }
  if (upper > kMaxNodes) throw std::length_error("index: expected at most 2^31 - 2 upper-level nodes");
  const std::size_t first_upper = graph.upper_links.size();
  graph.upper_links.resize(upper);
  for (std::size_t i = first_upper; i < upper; ++i)
    std::fill_n(graph.upper_links.row(i), graph.upper_links.stride(), kNoNode);
  constexpr std::size_t kRows = 256;
  parallel_for((vectors.rows + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
    std::vector<float> scratch(graph.vectors.stride());
    for (std::size_t i = item * kRows; i < std::min(vectors.rows, (item + 1) * kRows); ++i) {
      put_row(graph, static_cast<std::uint32_t>(first + i), vectors.row(i), scratch.data());
      std::fill_n(graph.links0.row(first + i), graph.links0.stride(), kNoNode);
    }
  });
}

void drop_rows(Graph& graph, std::size_t n, std::size_t n_upper) {
  resize_rows(graph, n);
  graph.links0.resize(n);
  graph.upper_begin.resize(n);
  graph.level.resize(n);
  graph.upper_links.resize(n_upper);
  graph.codes.resize(std::min(n, graph.codes.size()));
  if (n == 0) graph.dim_order.clear();
}

/// Vectors on their way while one is measured.
constexpr std::size_t kRowsAhead = 4;

/// Fill the scratch's pool; how many of its first entries have to be measured exactly to know the k nearest.
std::size_t find_candidates(const Graph& graph, std::size_t k, std::size_t ef, SearchScratch& scratch) {
  const Pool& pool = scratch.pool;
  if (graph.quantizer.empty()) {
    const auto search_in = [&](const auto& points) {
      GraphSearch search(graph, points, scratch);
      search.beam(scratch.query.data(), 0, search.descend(scratch.query.data(), 0), ef, scratch.pool);
    };
    if (graph.in_halves())
      search_in(HalfPoints(graph));
    else
      search_in(VectorPoints(graph));
    // Those within rounding of the k-th too.
    constexpr std::uint64_t kNearTie = 64;  // units in the last place
    std::size_t n = std::min(k, pool.size());
    while (n < pool.size() && pool[n].ulps_above(pool[k - 1]) <= kNearTie) ++n;
    return n;
  }
  if (!scratch.codes) scratch.codes.emplace(graph.quantizer);
  const auto query = graph.quantizer.encode_query(scratch.query.data(), *scratch.codes);
  // The width was learned for ten results; fewer do not average out the errors of codes. A narrow beam is
  // asked for speed.
  constexpr std::size_t kMinWidth = 16;
  const auto wanted = static_cast<std::size_t>(
      std::ceil(static_cast<double>(k) * static_cast<double>(graph.quantizer.rerank)));
  const std::size_t width = std::max(kMinWidth, std::min(wanted, ef));
  GraphSearch search(graph, traversal_points(graph), scratch);
  search.beam(query, 0, search.descend(query, 0), std::max(ef, std::min(width, graph.size())), scratch.pool);
  const std::size_t n = std::min(width, pool.size());
  for (std::size_t i = 0; i < std::min(kRowsAhead, n); ++i) prefetch_row(graph, pool[i].node());
  scratch.counts.distances += n;
  return n;
}

}  // namespace

void check_params(std::size_t dim, const HnswParams& p) {
  check_range<std::size_t>("dim", dim, 1, kMaxDim);
  check_range<std::uint32_t>("M", p.M, 2, kMaxM);
  check_range<std::uint32_t>("ef_construction", p.ef_construction, 1, kMaxEf);
  check_range<std::uint32_t>("ef_search", p.ef_search, 1, kMaxEf);
  if (!(p.batch_growth >= 1) || std::isinf(p.batch_growth))
    throw std::invalid_argument("batch_growth: expected a finite number, at least 1, got " +
                                std::to_string(p.batch_growth));
  if (p.metric != Metric::kL2 && p.metric != Metric::kIp && p.metric != Metric::kCosine)
    throw std::invalid_argument("metric: expected l2, ip or cosine");
  if (p.codec != Codec::kF32 && p.codec != Codec::kSq8 && p.codec != Codec::kAuto && p.codec != Codec::kF16)
    throw std::invalid_argument("codec: expected f32, f16, sq8 or auto");
  if (p.rerank != Rerank::kF32 && p.rerank != Rerank::kF16)
    throw std::invalid_argument("rerank: expected f32 or f16");
  if (p.codec == Codec::kF32 && p.rerank != Rerank::kF32)
    throw std::invalid_argument("rerank: expected f32 with codec f32, got f16");
  if (p.codec == Codec::kF16 && p.rerank != Rerank::kF16)
    throw std::invalid_argument("rerank: expected f16 with codec f16, got f32");
}

HnswIndex::HnswIndex(std::size_t dim, const HnswParams& params) {
  check_params(dim, params);
  impl_ = std::make_unique<Impl>(dim, params);
}
HnswIndex::HnswIndex(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
HnswIndex::~HnswIndex() = default;
HnswIndex::HnswIndex(HnswIndex&&) noexcept = default;
HnswIndex& HnswIndex::operator=(HnswIndex&&) noexcept = default;

HnswIndex HnswIndex::build(MatrixView<const float> vectors, const HnswParams& params,
                           const AddOptions& options) {
  HnswIndex index(vectors.cols, params);
  index.add(vectors, options);
  return index;
}

HnswIndex HnswIndex::bulk_build(MatrixView<const float> vectors, const HnswParams& params,
                                const AddOptions& options, const LevelLinker& link) {
  HnswIndex index(vectors.cols, params);
  index.add(vectors, options, &link);
  return index;
}

void HnswIndex::add(MatrixView<const float> vectors, const AddOptions& options) {
  add(vectors, options, nullptr);
}

/// `link`: null, or how to link the rows of an empty index.
void HnswIndex::add(MatrixView<const float> vectors, const AddOptions& options, const LevelLinker* link) {
  const auto start = std::chrono::steady_clock::now();
  const std::size_t threads = resolve_threads(options.threads);
  Graph& graph = impl_->graph;
  check_cols("vectors", vectors, graph.dim);
  check_finite("vectors", vectors, threads);
  check_order(options.order, vectors.rows);
  if (graph.in_halves() && graph.params.metric != Metric::kCosine) check_halves(vectors);

  const auto lock = impl_->mutex.write();
  const std::size_t first = graph.size(), first_upper = graph.upper_links.size();
  if (vectors.rows > kMaxNodes - first)
    throw std::length_error("vectors: expected at most 2^31 - 2 in one index, got " + std::to_string(first) +
                            " + " + std::to_string(vectors.rows));
  const bool ids_were_explicit = impl_->ids.explicit_ids();
  impl_->ids.append(vectors.rows, options.ids);
  try {
    ProgressMeter meter(options.progress, vectors.rows);
    append_rows(graph, first, vectors, threads);
    LearnedCodes learned = encode_new_rows(graph, threads);
    if (link != nullptr) {
      bulk_link(graph, vectors, options.order, threads, *link, meter);
      meter.finish();
    } else {
      insert_rows(graph, first, options.order, threads, meter);
    }
    // Nothing throws from here on. Scratches have the size of the queries of a codec.
    if (use_codes(graph, std::move(learned))) impl_->scratches.clear();
  } catch (...) {
    drop_rows(graph, first, first_upper);
    impl_->ids.truncate(first, ids_were_explicit);
    throw;
  }
  impl_->size = graph.size();
  impl_->build_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void HnswIndex::search(MatrixView<const float> queries, const SearchParams& params, std::int64_t* ids,
                       float* distances, SearchCounts* counts) const {
  const Graph& graph = impl_->graph;
  if (params.k == 0) throw std::invalid_argument("k: expected at least 1, got 0");
  check_cols("queries", queries, graph.dim);
  const std::size_t threads = resolve_threads(params.threads);
  check_finite("queries", queries, threads);

  const auto lock = impl_->mutex.read();
  const std::size_t k = params.k;
  const std::size_t ef =
      std::min(graph.size(), std::max(k, params.ef_search ? params.ef_search : graph.params.ef_search));
  const auto& kernels = kernels::metric_kernels(kernels::active_table(), graph.params.metric);
  const float shift = graph.params.metric == Metric::kCosine ? 1.0f : 0.0f;
  ProgressMeter meter(params.progress, queries.rows);

  const auto search_one = [&](std::size_t q, SearchScratch& scratch) {
    std::int64_t* out_ids = ids + q * k;
    float* out_distances = distances + q * k;
    std::fill_n(out_ids, k, std::int64_t{-1});
    std::fill_n(out_distances, k, std::numeric_limits<float>::infinity());
    scratch.counts = {};
    if (graph.size() > 0) {
      store_row(graph, queries.row(q), scratch.query.data());
      // Cosine compares normalized vectors, the other metrics the caller's.
      const float* query = graph.params.metric == Metric::kCosine ? scratch.query.data() : queries.row(q);
      const Pool& pool = scratch.pool;
      const std::size_t n = find_candidates(graph, k, ef, scratch);
      // Fast arithmetic chose; canonical arithmetic is returned.
      auto& best = scratch.results;
      best.resize(n);
      for (std::size_t i = 0; i < n; ++i) {
        if (i + kRowsAhead < n) prefetch_row(graph, pool[i + kRowsAhead].node());
        best[i] = {kernels.canonical(query, caller_row(graph, pool[i].node(), scratch.row.data()), graph.dim),
                   impl_->ids.id(pool[i].node())};
      }
      std::sort(best.begin(), best.end());
      for (std::size_t i = 0; i < std::min(k, n); ++i) {
        out_ids[i] = best[i].second;
        out_distances[i] = best[i].first + shift;
      }
    }
    if (counts) counts[q] = scratch.counts;
  };

  // A few queries per item: claiming one costs a little, and the last items should end together.
  const std::size_t per_item = std::clamp<std::size_t>(queries.rows / (threads * 16), 1, 32);
  const std::size_t n_items = (queries.rows + per_item - 1) / per_item;
  const std::size_t n_workers = std::max<std::size_t>(1, std::min(threads, n_items));
  std::vector<std::unique_ptr<Impl::BorrowedScratch>> scratches(n_workers);
  for (auto& scratch : scratches) scratch = std::make_unique<Impl::BorrowedScratch>(*impl_);
  parallel_for(
      n_items, n_workers,
      [&](std::size_t item, std::size_t worker) {
        for (std::size_t q = item * per_item; q < std::min(queries.rows, (item + 1) * per_item); ++q)
          search_one(q, **scratches[worker]);
      },
      [&](std::size_t done) { meter.update(std::min(queries.rows, done * per_item)); });
  meter.finish();
}

std::size_t HnswIndex::size() const noexcept { return impl_->size; }
std::size_t HnswIndex::dim() const noexcept { return impl_->graph.dim; }

HnswParams HnswIndex::params() const {
  const auto lock = impl_->mutex.read();
  return impl_->graph.params;
}

void HnswIndex::set_ef_search(std::uint32_t ef_search) {
  check_range<std::uint32_t>("ef_search", ef_search, 1, kMaxEf);
  const auto lock = impl_->mutex.write();
  impl_->graph.params.ef_search = ef_search;
}

void HnswIndex::get_vectors(std::span<const std::int64_t> ids, float* out) const {
  const auto lock = impl_->mutex.read();
  std::vector<std::uint32_t> rows;
  rows.reserve(ids.size());
  for (const std::int64_t id : ids) {
    const auto row = impl_->ids.find(id);
    if (!row) throw std::out_of_range("ids: expected ids in the index, got " + std::to_string(id));
    rows.push_back(*row);
  }
  std::vector<float> scratch(impl_->graph.vectors.stride());
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(caller_row(impl_->graph, rows[i], scratch.data()), impl_->graph.dim,
                out + i * impl_->graph.dim);
}

std::vector<std::int64_t> HnswIndex::ids() const {
  const auto lock = impl_->mutex.read();
  std::vector<std::int64_t> out(impl_->graph.size());
  for (std::size_t row = 0; row < out.size(); ++row) out[row] = impl_->ids.id(row);
  return out;
}

std::vector<std::int64_t> HnswIndex::neighbors(std::int64_t id, std::size_t level) const {
  const auto lock = impl_->mutex.read();
  const Graph& graph = impl_->graph;
  const auto node = impl_->ids.find(id);
  if (!node) throw std::out_of_range("id: expected an id in the index, got " + std::to_string(id));
  std::vector<std::int64_t> out;
  if (level > graph.level[*node]) return out;
  const std::uint32_t* row = graph.links(*node, level);
  for (std::size_t i = 0; i < graph.degree(*node, level); ++i) out.push_back(impl_->ids.id(row[i]));
  return out;
}

std::size_t HnswIndex::memory_usage() const {
  const auto lock = impl_->mutex.read();
  const Graph& g = impl_->graph;
  return g.vectors.bytes() + g.halves.bytes() + g.dim_order.size() * sizeof(std::uint32_t) +
         g.quantizer.bytes() + g.codes.bytes() + g.links0.bytes() + g.level.bytes() + g.upper_begin.bytes() +
         g.upper_links.bytes() + impl_->ids.bytes();
}

}  // namespace whimbrel
