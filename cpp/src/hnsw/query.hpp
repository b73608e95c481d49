// One query and its results: a beam chooses candidates, canonical arithmetic ranks them. Which calls make a
// query, and what becomes of the results, is not decided here.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/impl.hpp"

namespace whimbrel {

/// Rows that each query may find.
class Allowed {
 public:
  /// For a caller that reads the index. @throws std::invalid_argument as IdFilter::Impl::rows
  Allowed(const HnswIndex::Impl& index, std::span<const IdFilter* const> filters);

  /// Null: all that lists lead to.
  const RowSet* of_query(std::size_t q) const {
    if (rows_.empty()) return all_;
    const RowSet* rows = rows_[rows_.size() == 1 ? 0 : q].get();
    return rows == nullptr ? all_ : rows;
  }

 private:
  const RowSet* all_ = nullptr;
  std::vector<std::shared_ptr<const RowSet>> rows_;
};

/// Queries for the k nearest in one state of an index.
class Query {
 public:
  /// @param ef_search  0: the index's own; never below k
  Query(const HnswIndex::Impl& index, std::size_t k, std::size_t ef_search, bool exact);

  /// In place of ef_search, at least 1.
  void set_ef(std::size_t ef) { ef_ = std::min(graph_.live.count(), std::max(k_, ef)); }

  /// For one of the queries: the nearest rows of `allowed`, best first, in the scratch's results: at least k
  /// if they are found. The node `without` is as if it were not in the graph.
  void run(VectorsView queries, std::size_t q, const RowSet* allowed, SearchScratch& scratch,
           std::uint32_t without = kNoNode) const;
  /// The same for a vector of the index itself.
  void run_node(std::uint32_t node, const RowSet* allowed, SearchScratch& scratch,
                std::uint32_t without = kNoNode) const;

 private:
  /// `query`: in the caller's order, normalized for cosine; null where distances are measured once. The
  /// stored form is in the scratch.
  void answer(const float* query, const RowSet* allowed, SearchScratch& scratch, std::uint32_t without) const;
  std::size_t find_candidates(const RowSet* allowed, SearchScratch& scratch, std::uint32_t without) const;
  /// Distances that are returned, but for distance_shift.
  void measure(const float* query, std::span<const std::uint32_t> nodes, SearchScratch& scratch,
               float* out) const;
  void rank(const float* query, std::size_t n, SearchScratch& scratch) const;
  void scan(const float* query, const RowSet& rows, SearchScratch& scratch) const;

  const HnswIndex::Impl& index_;
  const Graph& graph_;
  kernels::PairKernel kernel_;
  std::size_t k_, ef_;
  bool exact_;
};

/// Queries that are searched for in one state of the index, if no change wants its turn before.
constexpr std::size_t query_slice(bool exact) { return exact ? 32 : 1024; }

/// What is added to canonical distances at the end: cosine is sorted by products.
inline float distance_shift(const HnswIndex::Impl& index) {
  return index.graph.params.metric == Metric::kCosine ? 1.0f : 0.0f;
}

/// fn(q, scratch) for the queries [begin, end). `gives_way`: perhaps only for the first of them, at least
/// one, because a change waits for the caller's lock. Where to go on.
template <class Fn>
std::size_t for_each_query(const HnswIndex::Impl& index, std::size_t begin, std::size_t end,
                           std::size_t threads, ProgressMeter& meter, bool gives_way, const Fn& fn) {
  const std::size_t n = end - begin;
  std::atomic<std::size_t> done_to = n;
  // A few queries per item: claiming one costs a little, and the last items should end together.
  const std::size_t per_item = std::clamp<std::size_t>(n / (threads * 16), 1, 32);
  const std::size_t n_items = (n + per_item - 1) / per_item;
  const std::size_t n_workers = std::max<std::size_t>(1, std::min(threads, n_items));
  std::vector<std::unique_ptr<HnswIndex::Impl::BorrowedScratch>> scratches(n_workers);
  for (auto& scratch : scratches) scratch = std::make_unique<HnswIndex::Impl::BorrowedScratch>(index);
  parallel_for(
      n_items, n_workers,
      [&](std::size_t item, std::size_t worker) {
        for (std::size_t q = item * per_item; q < std::min(n, (item + 1) * per_item); ++q) {
          if (gives_way && q > 0 && index.state.wanted()) {
            std::size_t least = done_to;
            while (q < least && !done_to.compare_exchange_weak(least, q)) {
            }
            return;
          }
          fn(begin + q, **scratches[worker]);
        }
      },
      [&](std::size_t done) { meter.update(begin + std::min(done_to.load(), done * per_item)); });
  return begin + done_to;
}

}  // namespace whimbrel
