#include "cur/first_stage.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/parallel.hpp"
#include "cur/regression.hpp"
#include "cur/symmetric_eigen.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Anchor queries that are looked at, and the fewest that say anything.
constexpr Index kMostQueries = 512, kFewQueries = 8;
/// Ridges tried, in units of the mean squared norm of a row of X.
constexpr std::array<double, 6> kRidges = {0.03, 0.1, 0.3, 1, 3, 10};
/// Shares of the slope tried.
constexpr std::array<double, 3> kShares = {0, 0.5, 1};
/// Queries held out, items scored for each, and the fewest.
constexpr Index kHeldOut = 24, kScored = 100, kFewScored = 16;

/// Evenly spaced rows.
MatrixXd some_rows(const MatrixXd& m, Index count) {
  MatrixXd out(count, m.cols());
  for (Index i = 0; i < count; ++i) out.row(i) = m.row(i * m.rows() / count);
  return out;
}

double inner(const MatrixXd& a, const MatrixXd& b) { return a.cwiseProduct(b).sum(); }

/// Predictions of each query from the others: `loo` times the scores, or times the first stage.
struct LeaveOneOut {
  MatrixXd loo;
  double slope = 0, gain = 0, ridge = 0, error = std::numeric_limits<double>::infinity();
};

/// Scores regressed on what the others predict and on the part of the first stage that they do not.
LeaveOneOut leave_one_out(const MatrixXd& scores_gram, const MatrixXd& cross, const MatrixXd& gram,
                          const SymmetricEigen& eigen, double ridge) {
  LeaveOneOut out;
  out.ridge = ridge;
  const VectorXd values = eigen.values.cwiseMax(0.0);
  const VectorXd kept = values.array() / (values.array() + ridge);
  out.loo = eigen.vectors * kept.asDiagonal() * eigen.vectors.transpose();
  const VectorXd self = out.loo.diagonal();
  out.loo.diagonal().setZero();
  out.loo.array().colwise() /= (1 - self.array()).max(1e-9);
  const MatrixXd rest = MatrixXd::Identity(gram.rows(), gram.cols()) - out.loo;
  const MatrixXd predicted = out.loo * scores_gram;  // predictions times scores
  const double aa = inner(predicted, out.loo), ab = inner(out.loo * cross, rest),
               bb = inner(rest * gram, rest), ac = predicted.trace(), bc = inner(rest, cross),
               total = scores_gram.trace();
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    out.gain = (ac * bb - bc * ab) / determinant;
    out.slope = (bc * aa - ac * ab) / determinant;
  } else if (aa > 0) {
    out.gain = ac / aa;
  }
  if (out.gain < 0) {
    out.gain = 0;
    out.slope = bb > 0 ? bc / bb : 0;
  }
  out.error = total - 2 * (out.gain * ac + out.slope * bc) + out.gain * out.gain * aa +
              2 * out.gain * out.slope * ab + out.slope * out.slope * bb;
  return out;
}

/// Of equal strength with the other features, which mu then weighs alike.
VectorXd unit(const VectorXd& values, double scale) {
  const VectorXd centered = values.array() - values.mean();
  const double deviation = std::sqrt(centered.squaredNorm() / static_cast<double>(centered.size()));
  return deviation > 0 ? VectorXd(centered * (std::sqrt(scale) / deviation)) : centered;
}

/// Squared error for query q, which the features do not know, on the items below those that it scores.
double held_out_error(const MatrixXd& scores, const MatrixXd& first, const LeaveOneOut& fit, double slope,
                      Index q) {
  const Index n = scores.cols(), queries = scores.rows();
  MatrixXd features = (scores - slope * first).transpose();
  const double scale = features.squaredNorm() / static_cast<double>(n);
  features.col(q).setZero();
  const VectorXd borrowed = fit.gain * (features * fit.loo.row(q).transpose());
  const VectorXd base = borrowed + slope * first.row(q).transpose();
  const VectorXd target = scores.row(q).transpose() - base;
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return base[a] > base[b]; });

  const Index scored = std::min(kScored, n / 4), tested = std::min(n - scored, std::max(scored, n / 10));
  MatrixXd rows(n, queries + 3);
  rows << features, unit(borrowed, scale), unit(first.row(q).transpose(), scale),
      VectorXd::Constant(n, std::sqrt(scale));
  MatrixXd known(scored, queries + 3);
  std::vector<double> targets(static_cast<std::size_t>(scored));
  for (Index i = 0; i < scored; ++i) {
    known.row(i) = rows.row(order[static_cast<std::size_t>(i)]);
    targets[static_cast<std::size_t>(i)] = target[order[static_cast<std::size_t>(i)]];
  }
  Regression regression(static_cast<std::size_t>(queries + 3), scale);
  regression.add(known);
  regression.set_mu(regression.choose_mu(targets));
  const VectorXd y = regression.solve(targets);
  double error = 0;
  for (Index i = scored; i < scored + tested; ++i) {
    const Index item = order[static_cast<std::size_t>(i)];
    const double miss = target[item] - rows.row(item).dot(y);
    error += miss * miss;
  }
  return error;
}

}  // namespace

FirstStageFit fit_first_stage(const MatrixXd& scores, const MatrixXd& first_stage, std::size_t threads) {
  const Index queries = std::min(scores.rows(), kMostQueries);
  const MatrixXd r = some_rows(scores, queries), x = some_rows(first_stage, queries);
  const MatrixXd gram = x * x.transpose(), cross = r * x.transpose(), scores_gram = r * r.transpose();
  const double strength = gram.trace() / static_cast<double>(queries);
  if (!(strength > 0)) return {};
  const double alone = cross.trace() / gram.trace();
  const FirstStageFit simple{alone, 0, 0};
  if (queries < kFewQueries || scores.cols() < 4 * kFewScored) return simple;

  const SymmetricEigen eigen = symmetric_eigen(gram);
  std::vector<LeaveOneOut> fits(kRidges.size());
  parallel_for(fits.size(), threads, [&](std::size_t i, std::size_t) {
    fits[i] = leave_one_out(scores_gram, cross, gram, eigen, kRidges[i] * strength);
  });
  const LeaveOneOut& best = *std::min_element(
      fits.begin(), fits.end(), [](const LeaveOneOut& a, const LeaveOneOut& b) { return a.error < b.error; });
  // Better by rounding is not better.
  if (!(best.error < scores_gram.trace() * (1 - 1e-6) - alone * cross.trace())) return simple;

  const Index held_out = std::min(kHeldOut, queries);
  std::vector<double> errors(kShares.size() * static_cast<std::size_t>(held_out));
  parallel_for(errors.size(), threads, [&](std::size_t i, std::size_t) {
    const auto q = static_cast<Index>(i / kShares.size()) * queries / held_out;
    errors[i] = held_out_error(r, x, best, kShares[i % kShares.size()] * best.slope, q);
  });
  std::array<double, kShares.size()> sums{};
  for (std::size_t i = 0; i < errors.size(); ++i) sums[i % kShares.size()] += errors[i];
  const auto share = static_cast<std::size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
  return {kShares[share] * best.slope, best.gain, best.ridge / strength};
}

void prepare_first_stage(CurIndex::Impl& index) {
  if (index.first_gain == 0) return;
  const MatrixXd x = index.first_sample.cast<double>();
  MatrixXd gram = x * x.transpose();
  const double strength = gram.trace() / static_cast<double>(gram.rows());
  // Never singular: the ridge is at least 3 % of the mean of the diagonal.
  gram.diagonal().array() += std::max(index.first_ridge * strength, std::numeric_limits<double>::min());
  index.first_factor = Eigen::LLT<MatrixXd>(gram).matrixL();
}

VectorXd anchor_weights(const CurIndex::Impl& index, const Eigen::VectorXf& x) {
  MatrixXd weights = (index.first_sample * x).cast<double>();
  const auto lower = index.first_factor.triangularView<Eigen::Lower>();
  lower.solveInPlace(weights);
  lower.transpose().solveInPlace(weights);
  return index.first_gain * weights;
}

}  // namespace whimbrel
