// Least squares against products, and matrices that have no factor.
#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "base/cholesky.hpp"
#include "random_sets.hpp"

using namespace whimbrel;

TEST_CASE("solutions solve, for any number of threads") {
  for (const std::size_t n : {1u, 2u, 7u, 8u, 9u, 100u, 150u}) {
    CAPTURE(n);
    const RandomSets rows(std::vector<std::size_t>{n + 5, 1}, n, n);
    std::vector<double> matrix(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t r = 0; r < n + 5; ++r)
          matrix[i * n + j] += static_cast<double>(rows.tokens[r * n + i]) * rows.tokens[r * n + j];
        if (i == j) matrix[i * n + j] += 0.1;
      }
    const std::vector<float> right(rows.tokens.end() - static_cast<std::ptrdiff_t>(n), rows.tokens.end());
    std::vector<double> x(right.begin(), right.end());
    const Cholesky model(matrix, n, 1);
    model.solve(x.data());
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += matrix[i * n + j] * x[j];
      CHECK(std::abs(sum - right[i]) < 1e-9);
    }
    std::vector<double> again(right.begin(), right.end());
    Cholesky(matrix, n, 3).solve(again.data());
    CHECK(again == x);
  }
}

TEST_CASE("a matrix that is not positive definite is refused") {
  CHECK_THROWS_AS(Cholesky({1, 0, 2, 1}, 2, 1), std::invalid_argument);
  CHECK_THROWS_AS(Cholesky({0}, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(Cholesky({std::nan("")}, 1, 1), std::invalid_argument);
}
