// Adding rows: stored, encoded and linked while searches go on, and there for them all at once.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/hooks.hpp"
#include "base/parallel.hpp"
#include "base/vectors.hpp"
#include "hnsw/bulk_build.hpp"
#include "hnsw/byte_rows.hpp"
#include "hnsw/codes.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/insert.hpp"
#include "hnsw/repair.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

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

/// One value per row, or none.
template <class T>
void check_by_row(const char* name, std::span<const T> values, std::size_t n, std::uint32_t low,
                  std::uint32_t high) {
  if (values.empty()) return;
  if (values.size() != n)
    throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(n) + " values, got " +
                                std::to_string(values.size()));
  for (const T value : values)
    if (value < low || value > high)
      throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(low) + " to " +
                                  std::to_string(high) + ", got " + std::to_string(value));
}

/// Room for rows [first, n): vectors stored, levels drawn unless they are given, lists empty.
void append_rows(Graph& graph, std::size_t first, VectorsView vectors, std::span<const std::uint8_t> levels,
                 bool copy, std::size_t threads, SliceMutex& state, std::uint64_t& version) {
  const std::size_t n = first + vectors.rows;
  if (copy) prepare_rows(graph, n);
  graph.links0.prepare(n);
  graph.upper_begin.prepare(n);
  graph.level.prepare(n);
  state.change([&] {
    version = next_version();
    if (first == 0 && copy && graph.params.codec == Codec::kF32 && !graph.in_bytes())
      graph.dim_order = choose_dim_order(graph, vectors.as<float>());
    graph.n_hidden += vectors.rows;
    if (copy)
      resize_rows(graph, n);
    else
      borrow_rows(graph, vectors.as<float>());
    graph.links0.resize(n);
    graph.upper_begin.resize(n);
    graph.level.resize(n);
  });
  const std::size_t first_upper = graph.upper_links.size();
  std::size_t upper = first_upper;
  for (std::size_t i = first; i < n; ++i) {
    graph.level[i] = levels.empty() ? random_level(graph.params.seed, i, graph.params.M) : levels[i - first];
    graph.upper_begin[i] = static_cast<std::uint32_t>(upper);
    upper += graph.level[i];
  }
  if (upper > kMaxNodes) throw std::length_error("index: expected at most 2^31 - 2 upper-level nodes");
  graph.upper_links.prepare(upper);
  state.change([&] { graph.upper_links.resize(upper); });
  for (std::size_t i = first_upper; i < upper; ++i)
    std::fill_n(graph.upper_links.row(i), graph.upper_links.stride(), kNoNode);
  constexpr std::size_t kRows = 256;
  parallel_for((vectors.rows + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
    RowWriter writer(graph);
    for (std::size_t i = item * kRows; i < std::min(vectors.rows, (item + 1) * kRows); ++i) {
      const auto node = static_cast<std::uint32_t>(first + i);
      if (graph.in_bytes())
        put_byte_row(graph, node, vectors, i);
      else if (copy)
        writer.put(node, vectors.as<float>().row(i));
      std::fill_n(graph.links0.row(first + i), graph.links0.stride(), kNoNode);
    }
  });
}

void drop_rows(Graph& graph, std::size_t n, std::size_t n_upper, std::size_t n_hidden) {
  resize_rows(graph, n);
  graph.links0.resize(n);
  graph.upper_begin.resize(n);
  graph.level.resize(n);
  graph.upper_links.resize(n_upper);
  graph.codes.resize(std::min(n, graph.codes.size()));
  graph.code_terms.resize(std::min(n, graph.code_terms.size()));
  graph.n_hidden = n_hidden;
  if (n == 0) graph.dim_order.clear();
  if (n == 0 && graph.callers_rows) give_rows_back(graph);
}

/// Whether one of a few vectors has mostly removed rows around it: what is linked to them has to be linked
/// again soon, and then in a worse place.
bool among_removed(const Graph& graph, VectorsView vectors) {
  SearchScratch scratch(graph);
  const Pool& near = scratch.pool;
  return with_row_points(graph, [&]<class P>(const P& points) {
    GraphSearch search(graph, points, scratch);
    for (std::size_t i = 0; i < vectors.rows; ++i) {
      if (graph.in_bytes())
        hold_byte_query(graph, vectors, i, scratch);
      else
        store_row(graph, vectors.as<float>().row(i), scratch.query.data());
      if (graph.only_codes()) hold_code_query(graph, scratch);
      typename P::Query query = held_query<P>(scratch);
      search.beam(query, 0, search.descend(query, 0), 2 * graph.params.M, scratch.pool);
      const auto removed =
          std::count_if(near.begin(), near.end(), [&](Candidate c) { return graph.gone(c.node()); });
      if (static_cast<std::size_t>(removed) * 2 > near.size()) return true;
    }
    return false;
  });
}

}  // namespace

void HnswIndex::Impl::add(VectorsView vectors, const AddOptions& options, const LevelLinker* link) {
  check_rows(vectors, options);
  if (link != nullptr && !(options.ef_construction.empty() && options.links.empty()))
    throw std::invalid_argument("ef_construction, links: expected none by row for a build of whole levels");
  const auto lock = mutex.write();
  check_changeable();
  if (vectors.rows == 0) return;
  if (!options.copy && graph.size() > 0)
    throw std::invalid_argument("copy: expected an empty index to be built over vectors, got one of " +
                                std::to_string(graph.size()) + " rows");
  ids.check(vectors.rows, options.ids);
  insert(vectors, options, link, {});
}

void HnswIndex::Impl::check_vectors(const char* name, VectorsView vectors, std::size_t threads) const {
  if (vectors.type != graph.params.vector_type)
    throw std::invalid_argument(std::string(name) + ": expected " + type_name(graph.params.vector_type) +
                                ", which the index holds, got " + type_name(vectors.type));
  check_cols(name, {nullptr, vectors.rows, vectors.cols}, graph.dim);
  if (vectors.type == VectorType::kFloat32) check_finite(name, vectors.as<float>(), threads);
}

void HnswIndex::Impl::check_rows(VectorsView vectors, const AddOptions& options) const {
  check_vectors("vectors", vectors, resolve_threads(options.threads));
  check_order(options.order, vectors.rows);
  check_by_row("levels", options.levels, vectors.rows, 0, kMaxLevel);
  check_by_row("ef_construction", options.ef_construction, vectors.rows, 1, kMaxEf);
  check_by_row("links", options.links, vectors.rows, 1, 2 * graph.params.M);
  if (graph.in_halves() && graph.params.metric != Metric::kCosine) check_halves(vectors.as<float>());
  if (!options.copy) check_borrowable(graph, vectors.as<float>());
}

void HnswIndex::Impl::insert(VectorsView vectors, const AddOptions& options, const LevelLinker* link,
                             std::span<const std::uint32_t> replaced) {
  const auto start = std::chrono::steady_clock::now();
  const std::size_t threads = resolve_threads(options.threads);
  if (graph.live.count() == 0 && graph.size() > 0) drop_gone();
  const std::size_t first = graph.size(), first_upper = graph.upper_links.size();
  if (vectors.rows > kMaxNodes - first)
    throw std::length_error("vectors: expected at most 2^31 - 2 in one index, got " + std::to_string(first) +
                            " + " + std::to_string(vectors.rows));
  if (graph.n_hidden > 0 && (worth_repairing(graph, vectors.rows) || among_removed(graph, vectors)))
    repair_before(vectors.rows, threads, options.progress);
  const std::size_t n_hidden = graph.n_hidden;
  const bool stored = ids.stored();
  RowSet staying;
  if (n_hidden > 0 || !replaced.empty()) {
    staying = graph.live;
    for (const std::uint32_t row : replaced) staying.erase(row);
  }
  const bool any_leaving = staying.count() > 0 && staying.count() < first;
  // Afterwards what there was, for a failure.
  RowSet live = graph.live.grown(first + vectors.rows);
  const bool terms_move = graph.rows_are_codes() && graph.code_terms.capacity() < first + vectors.rows;
  CountedVector<kernels::CodeTerms> terms;
  if (terms_move) {
    terms.reserve(std::max(2 * first, first + vectors.rows));
    terms.assign(graph.code_terms.begin(), graph.code_terms.end());
  }
  IdMap::Arrays id_arrays = ids.room_for(vectors.rows, !options.ids.empty() || !replaced.empty());
  // What comes out of use is freed when searches do not wait for it.
  LearnedCodes learned;
  IdMap::NewIds named;
  try {
    ProgressMeter meter(options.progress, vectors.rows);
    state.change([&] {
      std::swap(graph.live, live);
      if (terms_move) std::swap(graph.code_terms, terms);
      ids.prepare(vectors.rows, id_arrays);
    });
    named = replaced.empty() ? ids.name(vectors.rows, options.ids) : ids.name_like(replaced);
    append_rows(graph, first, vectors, options.levels, options.copy, threads, state, version);
    learned = encode_new_rows(graph, threads, state);
    if (link != nullptr) {
      bulk_link(graph, vectors.as<float>(), options.order, threads, *link, state, meter);
      meter.finish();
    } else {
      insert_rows(graph, first, options.order, threads, any_leaving ? &staying : nullptr, state, meter,
                  {options.ef_construction, options.links});
    }
    // Nothing throws from here on: lists lead to the new rows.
    state.change([&] {
      ids.append(std::move(named));
      // Scratches have the size of the queries of a codec.
      if (use_codes(graph, learned)) scratches.clear();
      graph.live.insert_new(first, graph.size());
      for (const std::uint32_t row : replaced) graph.live.erase(row);
      graph.n_hidden = n_hidden + replaced.size();
      graph.n_linked = graph.size();
      version = next_version();
      size = graph.live.count();
    });
    ids.forget(replaced);
  } catch (...) {
    state.change([&] {
      std::swap(graph.live, live);
      drop_rows(graph, first, first_upper, n_hidden);
      if (terms_move) std::swap(graph.code_terms, terms);
      ids.give_back(stored);
    });
    throw;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  build_seconds += seconds;
  log_line([&] {
    return "hnsw: added " + std::to_string(vectors.rows) + " rows to " + std::to_string(first) + " in " +
           std::to_string(seconds) + " s, " + std::to_string(threads) + " threads, " +
           kernels::active_table().isa;
  });
}

}  // namespace whimbrel
