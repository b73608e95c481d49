#include "pipelines/compressed_encodings.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/impl.hpp"

namespace whimbrel {
namespace {

/// What a worker of a search needs.
struct Scratch {
  explicit Scratch(const Graph& graph) : search(graph) {}
  SearchScratch search;
  ProductQuantizer::Table table;
};

}  // namespace

CompressedEncodings compress_encodings(const HnswIndex& index, std::uint64_t seed, std::size_t threads,
                                       const ProgressFn& progress) {
  const auto lock = index.impl().mutex.read();
  const Graph& graph = index.impl().graph;
  ProgressMeter meter(progress, graph.size());
  CountedVector<const float*> rows;
  rows.reserve(graph.size());
  for (std::size_t i = 0; i < graph.size(); ++i) rows.push_back(graph.vectors.row(i));
  CompressedEncodings out(ProductQuantizer(graph.dim, rows, seed, threads, meter));
  out.codes.resize(graph.size());
  CountedVector<std::uint8_t*> codes;
  codes.reserve(graph.size());
  for (std::size_t i = 0; i < graph.size(); ++i) codes.push_back(out.codes.row(i));
  out.quantizer.encode(rows, codes, threads, meter);
  meter.finish();
  return out;
}

void CompressedEncodings::search(const HnswIndex& index, MatrixView<const float> queries,
                                 const SearchParams& params, std::int64_t* ids) const {
  const auto lock = index.impl().mutex.read();
  const Graph& graph = index.impl().graph;
  const std::size_t k = params.k, threads = resolve_threads(params.threads);
  const std::size_t wanted = std::max(k, params.ef_search ? params.ef_search : graph.params.ef_search);
  const std::size_t ef = std::min(graph.size(), wanted);
  std::fill_n(ids, queries.rows * k, std::int64_t{-1});
  if (graph.size() == 0) return;
  ProgressMeter meter(params.progress, queries.rows);
  std::vector<std::unique_ptr<Scratch>> scratches(threads);
  parallel_for(
      queries.rows, threads,
      [&](std::size_t q, std::size_t worker) {
        if (!scratches[worker]) scratches[worker] = std::make_unique<Scratch>(graph);
        Scratch& scratch = *scratches[worker];
        quantizer.fill(queries.row(q), scratch.table);
        const float* entries = scratch.table.entries.data();
        GraphSearch search(graph, ProductCodePoints(codes, scratch.table.groups), scratch.search);
        Pool& pool = scratch.search.pool;
        search.beam(entries, 0, search.descend(entries, 0), ef, pool);
        for (std::size_t i = 0; i < std::min(k, pool.size()); ++i)
          ids[q * k + i] = static_cast<std::int64_t>(pool[i].node());
      },
      [&](std::size_t done) { meter.update(done); });
  meter.finish();
}

}  // namespace whimbrel
