// One query against the index: what is known of its scores in advance, its fitted weights, and passes over
// all items.
//
//   score(i) = offset_i + y . v_i + constant + tilt * slope_i
//
// The offset is the item's mean and the share of its first stage. y begins with the weights that the first
// stage lends from the anchor queries (first_stage.hpp). Features that only this query has are what these
// weights predict, the intercept, whose weight is the constant, and the first stage, whose weight is the
// tilt.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "base/top_k.hpp"
#include "cur/impl.hpp"

namespace whimbrel {

class QueryPrior {
 public:
  /// @param first_stage  a score per item, or empty. The index must outlive this.
  QueryPrior(const CurIndex::Impl& index, std::span<const float> first_stage);

  std::size_t dim() const noexcept;
  float offset(std::size_t i) const noexcept { return offset_.empty() ? index_.mean[i] : offset_[i]; }
  const float* offsets() const noexcept { return offset_.empty() ? index_.mean.data() : offset_.data(); }
  /// Null without a first stage.
  const float* slopes() const noexcept { return slope_.empty() ? nullptr : slope_.data(); }
  const CurIndex::Impl& index() const noexcept { return index_; }

  /// Features of items, one a row, for the regression.
  Eigen::MatrixXd rows(std::span<const std::int64_t> item_ids) const;
  /// What is expected of an item in advance; its target is the score less this.
  double expected(std::int64_t item_id) const;
  /// Weights in advance, of length 0 if there are none; and the scale and mean of what they predict.
  const Eigen::VectorXd& lent() const noexcept { return lent_; }
  double lent_unit() const noexcept { return lent_unit_; }
  double lent_mean() const noexcept { return lent_mean_; }

 private:
  void lend();
  double lent_score(std::size_t i) const;

  const CurIndex::Impl& index_;
  CountedVector<float> offset_, slope_;
  Eigen::VectorXd lent_;
  double lent_unit_ = 0, lent_mean_ = 0;
};

/// Weights as the passes take them.
struct QueryWeights {
  QueryWeights(const QueryPrior& prior, const Eigen::VectorXd& y);

  AlignedArray<float> query;  // padded
  float constant = 0, tilt = 0;
};

/// out[i] = score(first + i); the items are of one chunk.
void score_chunk(const QueryPrior& prior, const QueryWeights& weights, std::size_t first, std::size_t n,
                 float* out);

/// All scores.
void score_all(const QueryPrior& prior, const QueryWeights& weights, std::size_t threads, float* out);

/// Adds to the scores of items [first, first + n) before they are compared.
using Perturbation = std::function<void(std::size_t first, std::size_t n, float* scores)>;

/// The k best items that are not blocked, best first; `score` of the result is the negated score.
ScoredList best_items(const QueryPrior& prior, const QueryWeights& weights, std::size_t k,
                      std::span<const std::uint8_t> blocked, std::size_t threads,
                      const Perturbation& perturb = {});

/// The same, bit for bit, for many queries whose prior is the index alone, by matrix products. fn(query,
/// best) is called once for each, from any thread.
void best_items_of_many(const CurIndex::Impl& index, std::span<const QueryWeights> weights, std::size_t k,
                        std::span<const std::uint8_t> blocked, std::size_t threads,
                        const std::function<void(std::size_t, const ScoredList&)>& fn);

/// The same from proposals. Returns the queries for which these do not prove what is best.
std::vector<std::size_t> best_items_proposed(const CurIndex::Impl& index,
                                             std::span<const QueryWeights> weights, std::size_t k,
                                             std::span<const std::uint8_t> blocked, std::size_t threads,
                                             const CurProposer& proposer,
                                             const std::function<void(std::size_t, const ScoredList&)>& fn);

/// What item_vectors() subtracts from all means.
double average_mean(const CurIndex::Impl& index);

}  // namespace whimbrel
