// CurSearch: the k best items of a query under an expensive scorer, within a budget of scorer calls.
//
// Rounds of ADACUR (Yadav et al., "Adaptive selection of anchor items for CUR-based k-NN search with
// cross-encoders", 2023): score a few items, predict the rest by CurIndex, score the most promising. A state
// machine that the caller drives, since only he can call the scorer:
//
//   while (!(items = search.next_items()).empty()) search.observe(score(items));
//   search.top_k(...)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "whimbrel/cur.hpp"
#include "whimbrel/export.h"

namespace whimbrel {

/// How a round chooses among the items that are not scored yet.
enum class CurRule {
  kTopK,         ///< the highest predictions
  kSoftmax,      ///< a sample without replacement, with probabilities proportional to exp(prediction /
                 ///< temperature)
  kUncertainty,  ///< the highest prediction + kappa * standard deviation, among a short list by prediction
};

struct CurSearchParams {
  std::size_t k = 10;
  std::size_t budget = 200;  ///< scorer calls, never exceeded
  std::size_t rounds = 10;   ///< the budget is spent in this many nearly equal parts
  /// Share of the budget for the rounds; the rest goes to the highest predictions after them ("split").
  double split = 1;
  CurRule rule = CurRule::kTopK;
  double temperature = 1;  ///< in units of the scores
  double kappa = 1;
  double mu = -1;  ///< as in CurQueryOptions
  std::uint64_t seed = 0;
  std::size_t threads = 0;  ///< 0: all; does not change the result
};

/// For one thread at a time. The index must outlive it and not change meanwhile.
class WHIMBREL_API CurSearch {
 public:
  /// @param start        items of the first round, best first, as many as it takes; filled up, as an empty
  /// list is:
  ///                     by the highest predictions if there is a first stage, by random items if not
  /// @param first_stage  a score per item, or empty
  /// @throws std::invalid_argument, std::out_of_range
  CurSearch(const CurIndex& index, const CurSearchParams& params, std::span<const std::int64_t> start = {},
            std::span<const float> first_stage = {});
  ~CurSearch();
  CurSearch(CurSearch&&) noexcept;
  CurSearch& operator=(CurSearch&&) noexcept;

  /// What to score next, empty at the end. The same items again until observe() was told their scores. Never
  /// an item twice, never a removed one, never more than the budget in all.
  /// @throws std::invalid_argument if the index changed
  const std::vector<std::int64_t>& next_items();
  /// The same, chosen among these items alone while a round chooses by predictions: the candidates of a graph
  /// of CurIndex::item_vectors(), asked with query_vector(). Where they are too few, among all.
  const std::vector<std::int64_t>& next_items(std::span<const std::int64_t> candidates);
  /// What the next round's predictions are inner products with; empty if it does not choose by predictions.
  /// @throws std::invalid_argument with a first stage, whose scores no item vector holds
  std::vector<float> query_vector();
  /// @throws std::invalid_argument if there is not a score for each of the items, or one is not finite; the
  /// search is
  ///         as it was
  void observe(std::span<const float> scores);
  bool done();

  std::size_t calls() const noexcept;  ///< scores observed
  /// The min(k, calls()) best of the scored items by their exact scores, equal scores by id.
  void top_k(std::vector<std::int64_t>& ids, std::vector<float>& scores) const;
  /// All scored items, in the order in which they were asked for.
  std::span<const std::int64_t> scored_items() const noexcept;
  std::span<const float> scores() const noexcept;

  /// Share of the true top k that top_k() is expected to hold: k / (k + the expected number of unscored items
  /// above the k-th), if predictions miss by a normal deviation of the size of the leave-one-out residuals. 1
  /// if all is scored. The unscored items are those of `candidates`, or all if there are none.
  double estimated_recall(std::span<const std::int64_t> candidates = {});
  /// Root mean square leave-one-out residual of the scored items, in units of the scores.
  double loo_error();
  double mu() const noexcept;               ///< ridge parameter of the last round
  double algebra_seconds() const noexcept;  ///< wall time spent in here

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whimbrel
