// What a first stage tells of an expensive scorer's scores, found on a sample of the items when an index is
// fitted, and what a query's own first stage says in advance.
//
//   score(i) = mean_i + slope x_i + sum_a w_a v_ai,   w = gain (X X^T + ridge I)^-1 X x
//
// x_i is the first-stage score of item i above its mean, X has those of the anchor queries, and v_ai is the
// feature that anchor query a gives to item i: its score above the mean, less slope times its first stage.
// The weights w describe the query's first stage by those of the anchor queries, so that anchor queries which
// the first stage finds alike lend it their scores. The published mixture with a parametric query embedding
// (AXN, ICLR 2024) is this with factors for features and a fixed weight.
#pragma once

#include <Eigen/Core>
#include <cstddef>

#include "cur/impl.hpp"

namespace whimbrel {

/// Slope, gain and ridge from the centered scores and first stage of the anchor queries on some items, both
/// (queries, items). The first two are linear regression on leave-one-out predictions, the ridge the one
/// whose error is least; of the slope that share is kept whose features predict held-out queries best.
struct FirstStageFit {
  double slope = 0, gain = 0, ridge = 0;
};
FirstStageFit fit_first_stage(const Eigen::MatrixXd& scores, const Eigen::MatrixXd& first_stage,
                              std::size_t threads);

/// Item number s of the sample on which first stages are compared.
inline std::size_t sample_item(const CurIndex::Impl& index, std::size_t s) noexcept {
  return s * index.fitted_size / static_cast<std::size_t>(index.first_sample.cols());
}

/// Factorize X X^T + ridge I for the sample as it is.
void prepare_first_stage(CurIndex::Impl& index);

/// Weights of the anchor queries for a query with first-stage scores x above the means on the sample.
Eigen::VectorXd anchor_weights(const CurIndex::Impl& index, const Eigen::VectorXf& x);

}  // namespace whimbrel
