// Ridge regression that grows by rounds: weights of features from the scores of a few items.
//
//   y = argmin |A y - c|^2 + mu |y|^2 = A^T (A A^T + mu I)^-1 c = (A^T A + mu I)^-1 A^T c
//
// with a row of A per scored item. The first form while there are at most as many items as features, its
// Cholesky factor extended by blocks as items come; then the second one. mu = 0 gives the pseudo-inverse.
// Everything in double precision and by one thread; compiled for the baseline, so the same bits wherever it
// runs.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <span>

namespace whimbrel {

class Regression {
 public:
  /// @param scale  typical squared norm of a row: the unit in which mu is searched and singularity is judged
  Regression(std::size_t dim, double scale);

  std::size_t size() const noexcept { return static_cast<std::size_t>(rows_.rows()); }
  std::size_t dim() const noexcept { return static_cast<std::size_t>(dim_); }
  double mu() const noexcept { return mu_; }

  /// Append scored items, a row of features each.
  void add(const Eigen::MatrixXd& rows);

  /// The value of a fixed grid with the smallest leave-one-out error on the first kLooRows items, in closed
  /// form: residual_i = z_i / [(A A^T + mu I)^-1]_ii, z = (A A^T + mu I)^-1 c. A default while there are few.
  double choose_mu(std::span<const double> targets);
  /// From here on choose_mu() looks at items it has seen already.
  static constexpr std::size_t kLooRows = 128;

  void set_mu(double mu);
  Eigen::VectorXd solve(std::span<const double> targets);

  /// Root mean square leave-one-out residual of all items under the current mu.
  double loo_error(std::span<const double> targets);
  /// Variance that is left at a row of features, where mu is the variance of the noise.
  double variance(const Eigen::VectorXd& row);

 private:
  bool dual() const noexcept { return rows_.rows() <= dim_; }
  void factorize();
  bool extend(double mu);

  Eigen::Index dim_;
  double scale_;
  double mu_ = 0;
  double floor_ = 0;        // added where mu leaves the system singular, as duplicates do
  Eigen::MatrixXd rows_;    // A
  Eigen::MatrixXd gram_;    // A A^T, then A^T A
  Eigen::MatrixXd factor_;  // lower Cholesky factor of gram_ + mu I
  Eigen::Index valid_ = 0;  // leading rows of factor_ that stand for mu_
  bool gram_dual_ = true;
  // Of the first items, for choose_mu(): they stay while targets change.
  Eigen::VectorXd loo_values_;
  Eigen::MatrixXd loo_vectors_, loo_squares_;
};

}  // namespace whimbrel
