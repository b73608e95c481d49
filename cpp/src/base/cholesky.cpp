#include "base/cholesky.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "base/parallel.hpp"

namespace whimbrel {
namespace {

/// Eight sums side by side, which the compiler can keep in registers, folded in a fixed order.
double dot(const double* a, const double* b, std::size_t n) {
  constexpr std::size_t kLanes = 8;
  double lane[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lane[l] += a[i + l] * b[i + l];
  for (std::size_t l = 0; i < n; ++i, ++l) lane[l] += a[i] * b[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace

Cholesky::Cholesky(std::vector<double> matrix, std::size_t n, std::size_t threads)
    : n_(n), lower_(std::move(matrix)), upper_(n * n) {
  constexpr std::size_t kRows = 64;
  for (std::size_t j = 0; j < n; ++j) {
    double* pivot = &lower_[j * n];
    const double squared = pivot[j] - dot(pivot, pivot, j);
    if (!(squared > 0)) throw std::invalid_argument("matrix: expected a positive definite one");
    pivot[j] = std::sqrt(squared);
    const std::size_t below = n - j - 1;
    parallel_for((below + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
      const std::size_t first = j + 1 + item * kRows;
      for (std::size_t i = first; i < std::min(n, first + kRows); ++i) {
        double* row = &lower_[i * n];
        row[j] = (row[j] - dot(row, pivot, j)) / pivot[j];
      }
    });
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) upper_[j * n + i] = lower_[i * n + j];
}

void Cholesky::solve(double* x) const {
  for (std::size_t i = 0; i < n_; ++i) x[i] = (x[i] - dot(&lower_[i * n_], x, i)) / lower_[i * n_ + i];
  for (std::size_t i = n_; i-- > 0;) {
    const double* row = &upper_[i * n_];
    x[i] = (x[i] - dot(row + i + 1, x + i + 1, n_ - i - 1)) / row[i];
  }
}

}  // namespace whimbrel
