// MaxSim of many queries with many documents: who scores what, and where the scores go. The scoring itself is
// in maxsim_scorer.cpp.
#include "whimbrel/maxsim.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "base/vectors.hpp"
#include "exact/maxsim_scorer.hpp"
#include "exact/query_columns.hpp"
#include "exact/token_rows.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
/// Query tokens that are scored together; their panels must stay in the second-level cache.
constexpr std::size_t kGroupBytes = std::size_t{1} << 18;
/// Token rows of documents that one piece of work looks at.
constexpr std::size_t kSegmentRows = 2048;
/// Documents of a list that one piece of work looks at.
constexpr std::size_t kListPiece = 32;

/// The caller's matrix of document tokens.
class RaggedDocuments final : public Documents {
 public:
  explicit RaggedDocuments(const RaggedView& docs) : Documents(docs.offsets, docs.dim()), docs_(docs) {}

  const float* in_place(std::size_t first, std::size_t n) const override {
    return first + n <= docs_.tokens.rows ? docs_.tokens.row(first) : nullptr;
  }
  std::size_t stride() const override { return docs_.tokens.stride; }
  void copy(std::size_t first, std::size_t n, float* out) const override {
    for (std::size_t i = 0; i < n; ++i) std::copy_n(docs_.tokens.row(first + i), dim(), out + i * dim());
  }
  void prefetch(std::size_t first, std::size_t n) const override {
    for (std::size_t i = first; i < std::min(first + n, docs_.tokens.rows); ++i)
      prefetch_row(docs_.tokens.row(i), dim());
  }
  void check_values() const override { check_finite("docs", docs_.tokens, 1); }

 private:
  RaggedView docs_;
};

/// Consecutive queries whose tokens share panels.
struct QueryGroup {
  std::size_t first, last;
  std::unique_ptr<QueryColumns> columns;
};

class MaxSim {
 public:
  MaxSim(const RaggedView& queries, const Documents& docs, const MaxSimParams& params)
      : table_(kernels::active_table()),
        queries_(queries),
        docs_(docs),
        params_(params),
        threads_(resolve_threads(params.threads)) {
    check_cols("queries", queries.tokens, docs.dim());
    check_ragged("queries", queries, threads_);
  }

  void score_all(float* scores) {
    make_groups(std::max<std::size_t>(1, kGroupBytes / (docs_.dim() * sizeof(float))));
    std::vector<std::size_t> segments{0};
    std::size_t rows = 0;
    for (std::size_t doc = 0; doc < docs_.size(); ++doc) {
      rows += docs_.length(doc);
      if (rows >= kSegmentRows || doc + 1 - segments.back() >= kSegmentRows || doc + 1 == docs_.size()) {
        segments.push_back(doc + 1);
        rows = 0;
      }
    }
    const std::size_t n_segments = segments.size() - 1, n = docs_.size();
    // Items that follow each other look at the same documents.
    run(groups_.size() * n_segments, [&](std::size_t item, MaxSimScorer& scorer) {
      const QueryGroup& group = groups_[item % groups_.size()];
      const std::size_t segment = item / groups_.size();
      const BestFn emit = [&](std::size_t doc, const float* best) {
        for (std::size_t q = group.first; q < group.last; best += queries_[q].rows, ++q)
          scores[q * n + doc] = score(q, best, docs_.length(doc) == 0);
      };
      scorer.start(*group.columns, emit);
      for (std::size_t doc = segments[segment]; doc < segments[segment + 1]; ++doc) scorer.push(doc, doc);
      scorer.finish();
    });
  }

  void score_lists(const DocumentLists& lists, float* scores) {
    check_offsets("lists", lists.offsets, lists.ids.size());
    if (lists.offsets.size() - 1 != queries_.size())
      throw std::invalid_argument("lists: expected one per query, " + std::to_string(queries_.size()) +
                                  ", got " + std::to_string(lists.offsets.size() - 1));
    for (const std::int64_t id : lists.ids)
      if (id < -1 || id >= static_cast<std::int64_t>(docs_.size()))
        throw std::out_of_range("docs: expected an id below " + std::to_string(docs_.size()) +
                                " or -1 for none, got " + std::to_string(id));
    make_groups(0);
    struct Item {
      std::size_t query, first, last;
    };
    std::vector<Item> items;
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      const auto last = static_cast<std::size_t>(lists.offsets[q + 1]);
      for (auto i = static_cast<std::size_t>(lists.offsets[q]); i < last; i += kListPiece)
        items.push_back({q, i, std::min(last, i + kListPiece)});
    }
    run(items.size(), [&](std::size_t number, MaxSimScorer& scorer) {
      const Item& item = items[number];
      const BestFn emit = [&](std::size_t i, const float* best) {
        scores[i] = score(item.query, best, docs_.length(static_cast<std::size_t>(lists.ids[i])) == 0);
      };
      scorer.start(*groups_[item.query].columns, emit);
      for (std::size_t i = item.first; i < item.last; ++i) {
        if (lists.ids[i] < 0) {
          scores[i] = -kInf;
        } else {
          scorer.push(i, static_cast<std::size_t>(lists.ids[i]));
        }
      }
      scorer.finish();
    });
  }

 private:
  /// Groups of queries with at most `max_tokens` together, or of one query.
  void make_groups(std::size_t max_tokens) {
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      if (groups_.empty() || queries_.end(q) - queries_.begin(groups_.back().first) > max_tokens ||
          max_tokens == 0)
        groups_.push_back({q, q, nullptr});
      groups_.back().last = q + 1;
    }
    parallel_for(groups_.size(), threads_, [&](std::size_t g, std::size_t) {
      QueryGroup& group = groups_[g];
      const std::size_t first = queries_.begin(group.first), n = queries_.end(group.last - 1) - first;
      const MatrixView<const float> tokens(queries_.tokens.row(first), n, queries_.dim(),
                                           queries_.tokens.stride);
      group.columns = std::make_unique<QueryColumns>(table_, tokens);
    });
  }

  template <class Fn>
  void run(std::size_t n_items, Fn fn) {
    ProgressMeter meter(params_.progress, n_items);
    std::vector<std::unique_ptr<MaxSimScorer>> scorers(threads_);
    parallel_for(
        n_items, threads_,
        [&](std::size_t item, std::size_t worker) {
          if (!scorers[worker]) scorers[worker] = std::make_unique<MaxSimScorer>(table_, docs_);
          fn(item, *scorers[worker]);
        },
        [&](std::size_t done) { meter.update(done); });
    meter.finish();
  }

  float score(std::size_t query, const float* best, bool empty) const {
    if (empty) return -kInf;
    const std::size_t n = queries_[query].rows;
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += best[i];
    if (params_.normalize && n > 0) sum /= static_cast<double>(n);
    const auto rounded = static_cast<float>(sum);
    return std::isfinite(rounded) ? rounded : -kInf;
  }

  const kernels::KernelTable& table_;
  const RaggedView& queries_;
  const Documents& docs_;
  const MaxSimParams& params_;
  std::size_t threads_;
  std::vector<QueryGroup> groups_;
};

}  // namespace

void maxsim_matrix(const RaggedView& queries, const RaggedView& docs, const MaxSimParams& params,
                   float* scores) {
  check_offsets("docs", docs.offsets, docs.tokens.rows);
  MaxSim(queries, RaggedDocuments(docs), params).score_all(scores);
}

void maxsim_matrix(const RaggedView& queries, const TokenStore& docs, const MaxSimParams& params,
                   float* scores) {
  const std::shared_lock lock(docs.impl().mutex);
  MaxSim(queries, StoredDocuments(docs.impl()), params).score_all(scores);
}

void maxsim_lists(const RaggedView& queries, const RaggedView& docs, const DocumentLists& lists,
                  const MaxSimParams& params, float* scores) {
  check_offsets("docs", docs.offsets, docs.tokens.rows);
  MaxSim(queries, RaggedDocuments(docs), params).score_lists(lists, scores);
}

void maxsim_lists(const RaggedView& queries, const TokenStore& docs, const DocumentLists& lists,
                  const MaxSimParams& params, float* scores) {
  const std::shared_lock lock(docs.impl().mutex);
  MaxSim(queries, StoredDocuments(docs.impl()), params).score_lists(lists, scores);
}

}  // namespace whimbrel
