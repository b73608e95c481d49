// Least squares with many right-hand sides: A = L L^T once, then a solution for each. In double precision and
// in one order of operations, so that the result does not depend on threads or machine.
#pragma once

#include <cstddef>
#include <vector>

namespace whimbrel {

class Cholesky {
 public:
  /// `matrix`: (n, n), symmetric, positive definite; only its lower triangle is read.
  /// @throws std::invalid_argument if it is not positive definite
  Cholesky(std::vector<double> matrix, std::size_t n, std::size_t threads);

  /// x = A^-1 x
  void solve(double* x) const;

 private:
  std::size_t n_;
  std::vector<double> lower_;  // rows of L
  std::vector<double> upper_;  // rows of its transpose
};

}  // namespace whimbrel
