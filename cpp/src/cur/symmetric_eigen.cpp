#include "cur/symmetric_eigen.hpp"

#include <Eigen/Eigenvalues>

namespace whimbrel {

SymmetricEigen symmetric_eigen(const Eigen::MatrixXd& matrix, bool with_vectors) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(
      matrix, with_vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  if (!with_vectors) return {solver.eigenvalues(), {}};
  return {solver.eigenvalues(), solver.eigenvectors()};
}

}  // namespace whimbrel
