// Eigenvalues and eigenvectors of symmetric matrices: one place that compiles the solver.
#pragma once

#include <Eigen/Core>

namespace whimbrel {

struct SymmetricEigen {
  Eigen::VectorXd values;   // ascending
  Eigen::MatrixXd vectors;  // one a column; empty if only the values were asked for
};
/// Of the lower half of `matrix`.
SymmetricEigen symmetric_eigen(const Eigen::MatrixXd& matrix, bool with_vectors = true);

}  // namespace whimbrel
