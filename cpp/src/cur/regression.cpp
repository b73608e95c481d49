#include "cur/regression.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>

#include "cur/symmetric_eigen.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// mu / scale: half decades from 1e-4 on. The optimum is flat.
constexpr double kGridLow = 1e-4, kGridStep = 3.1622776601683795;
constexpr int kGridSize = 12;
/// With fewer items leave-one-out says little.
constexpr Index kFewRows = 8;
constexpr double kDefaultMu = 0.03;
/// A pivot below this share of the scale is rounding; the floor makes the system regular at a loss of a few
/// digits.
constexpr double kSingular = 1e-12, kFloor = 1e-10;

VectorXd as_vector(std::span<const double> values) {
  return Eigen::Map<const VectorXd>(values.data(), static_cast<Index>(values.size()));
}

}  // namespace

Regression::Regression(std::size_t dim, double scale)
    : dim_(static_cast<Index>(dim)), scale_(scale > 0 ? scale : 1), rows_(0, dim_) {}

void Regression::add(const MatrixXd& rows) {
  const Index old = rows_.rows(), m = old + rows.rows();
  if (rows.rows() == 0) return;
  rows_.conservativeResize(m, dim_);
  rows_.bottomRows(rows.rows()) = rows;
  if (dual()) {
    gram_.conservativeResize(m, m);
    gram_.bottomRows(rows.rows()).noalias() = rows * rows_.transpose();
  } else if (gram_dual_) {
    gram_.noalias() = rows_.transpose() * rows_;
    gram_dual_ = false;
    valid_ = 0;
  } else {
    gram_.noalias() += rows.transpose() * rows;
    valid_ = 0;
  }
}

double Regression::choose_mu(std::span<const double> targets) {
  const Index m = std::min<Index>(rows_.rows(), static_cast<Index>(kLooRows));
  if (m < kFewRows) return kDefaultMu * scale_;
  if (loo_values_.size() != m) {
    const MatrixXd gram = rows_.topRows(m) * rows_.topRows(m).transpose();
    const SymmetricEigen eigen = symmetric_eigen(gram);
    loo_values_ = eigen.values.cwiseMax(0.0);
    loo_vectors_ = eigen.vectors;
    loo_squares_ = loo_vectors_.cwiseAbs2();
  }
  const VectorXd rotated = loo_vectors_.transpose() * as_vector(targets.first(static_cast<std::size_t>(m)));
  double best = std::numeric_limits<double>::infinity(), best_mu = kDefaultMu * scale_;
  double mu = kGridLow * scale_;
  for (int i = 0; i < kGridSize; ++i, mu *= kGridStep) {
    const VectorXd inverse = (loo_values_.array() + mu).inverse();
    const VectorXd z = loo_vectors_ * rotated.cwiseProduct(inverse);
    const double error = z.cwiseQuotient(loo_squares_ * inverse).squaredNorm();
    if (error < best) {
      best = error;
      best_mu = mu;
    }
  }
  return best_mu;
}

void Regression::set_mu(double mu) {
  if (mu != mu_) valid_ = 0;
  mu_ = mu;
}

/// Complete the factor from valid_ rows on; false where a pivot vanishes.
bool Regression::extend(double mu) {
  const Index m = gram_.rows(), old = valid_, n = m - old;
  if (n == 0) return true;
  factor_.conservativeResize(m, m);
  MatrixXd corner = gram_.bottomRightCorner(n, n);
  corner.diagonal().array() += mu;
  if (old > 0) {
    // L21 = G21 L11^-T
    MatrixXd left = gram_.bottomLeftCorner(n, old).transpose();
    factor_.topLeftCorner(old, old).triangularView<Eigen::Lower>().solveInPlace(left);
    factor_.bottomLeftCorner(n, old) = left.transpose();
    corner.noalias() -= left.transpose() * left;
  }
  const Eigen::LLT<MatrixXd> llt(corner);
  if (llt.info() != Eigen::Success) return false;
  factor_.bottomRightCorner(n, n) = llt.matrixL();
  if (factor_.diagonal().tail(n).cwiseAbs2().minCoeff() <= kSingular * scale_) return false;
  valid_ = m;
  return true;
}

void Regression::factorize() {
  // The floor depends on the scale alone, so that rounds and a solution from scratch meet the same one.
  while (!extend(std::max(mu_, floor_))) {
    valid_ = 0;
    floor_ = floor_ == 0 ? kFloor * scale_ : 100 * floor_;
  }
}

VectorXd Regression::solve(std::span<const double> targets) {
  if (rows_.rows() == 0) return VectorXd::Zero(dim_);
  factorize();
  const MatrixXd& factor = factor_;
  const auto lower = factor.triangularView<Eigen::Lower>();
  MatrixXd z = as_vector(targets);  // a matrix: Eigen solves it by its blocked path
  if (!dual()) z = rows_.transpose() * z;
  lower.solveInPlace(z);
  lower.transpose().solveInPlace(z);
  return dual() ? VectorXd(rows_.transpose() * z) : VectorXd(z);
}

double Regression::loo_error(std::span<const double> targets) {
  const Index m = rows_.rows();
  if (m < 2) return 0;
  const VectorXd y = solve(targets);
  VectorXd left = as_vector(targets) - rows_ * y;
  const MatrixXd& factor = factor_;
  const auto lower = factor.triangularView<Eigen::Lower>();
  double sum = 0;
  if (dual()) {
    // [G^-1]_ii is the squared norm of column i of L^-1, and z = (c - A y) / mu.
    const MatrixXd inverse = lower.solve(MatrixXd::Identity(m, m));
    const VectorXd z = inverse.transpose() * (inverse * as_vector(targets));
    sum = z.cwiseQuotient(inverse.colwise().squaredNorm().transpose()).squaredNorm();
  } else {
    const MatrixXd half = lower.solve(rows_.transpose());  // leverage_i = |L^-1 a_i|^2
    const VectorXd rest = (1 - half.colwise().squaredNorm().transpose().array()).max(1e-12);
    sum = left.cwiseQuotient(rest).squaredNorm();
  }
  return std::sqrt(sum / static_cast<double>(m));
}

double Regression::variance(const VectorXd& row) {
  if (rows_.rows() == 0) return row.squaredNorm();
  factorize();
  const MatrixXd& factor = factor_;
  const auto lower = factor.triangularView<Eigen::Lower>();
  if (dual()) return std::max(0.0, row.squaredNorm() - lower.solve(MatrixXd(rows_ * row)).squaredNorm());
  return mu_ * lower.solve(MatrixXd(row)).squaredNorm();
}

}  // namespace whimbrel
