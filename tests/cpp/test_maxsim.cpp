// MaxSim and ball carving as a C++ caller sees them; the many shapes are in tests/python/test_maxsim.py.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "random_sets.hpp"
#include "whimbrel/ball_carving.hpp"
#include "whimbrel/maxsim.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 20;
constexpr float kInf = std::numeric_limits<float>::infinity();

const RandomSets kQueries({7, 0, 1, 33}, kDim, 1);
const RandomSets kDocs({5, 1, 0, 300, 64, 2, 129, 40}, kDim, 2);

double reference(MatrixView<const float> query, MatrixView<const float> doc) {
  if (doc.rows == 0) return -static_cast<double>(kInf);
  double sum = 0;
  for (std::size_t q = 0; q < query.rows; ++q) {
    double best = -static_cast<double>(kInf);
    for (std::size_t p = 0; p < doc.rows; ++p) {
      double product = 0;
      for (std::size_t k = 0; k < query.cols; ++k)
        product += static_cast<double>(query.row(q)[k]) * doc.row(p)[k];
      best = std::max(best, product);
    }
    sum += best;
  }
  return sum;
}

std::vector<float> matrix(const RandomSets& queries, const RandomSets& docs,
                          const MaxSimParams& params = {}) {
  std::vector<float> scores(queries.view().size() * docs.view().size());
  maxsim_matrix(queries.view(), docs.view(), params, scores.data());
  return scores;
}

}  // namespace

TEST_CASE("scores are the sums of the best products, for any number of threads") {
  const std::vector<float> scores = matrix(kQueries, kDocs, {.threads = 1});
  const std::size_t n = kDocs.view().size();
  for (std::size_t q = 0; q < kQueries.view().size(); ++q)
    for (std::size_t d = 0; d < n; ++d) {
      const double expected = reference(kQueries.view()[q], kDocs.view()[d]);
      if (std::isinf(expected))
        CHECK(scores[q * n + d] == -kInf);
      else
        CHECK(std::abs(scores[q * n + d] - expected) <= 1e-4);
    }
  for (const std::size_t threads : {2, 5}) CHECK(matrix(kQueries, kDocs, {.threads = threads}) == scores);
}

TEST_CASE("lists and stores give the scores of the matrix") {
  const std::vector<float> scores = matrix(kQueries, kDocs);
  const std::size_t n = kDocs.view().size();
  TokenStore store(kDim, TokenType::kFloat32);
  store.add(kDocs.view());
  std::vector<float> stored(scores.size());
  maxsim_matrix(kQueries.view(), store, {}, stored.data());
  CHECK(stored == scores);
  const std::vector<std::int64_t> offsets{0, 3, 3, 4, 6}, ids{7, -1, 0, 3, 2, 6};
  std::vector<float> listed(ids.size());
  maxsim_lists(kQueries.view(), store, {offsets, ids}, {}, listed.data());
  CHECK(listed ==
        std::vector<float>{scores[7], -kInf, scores[0], scores[2 * n + 3], -kInf, scores[3 * n + 6]});
}

TEST_CASE("what does not fit is refused, and progress can stop the work") {
  std::vector<float> scores(64);
  const RandomSets other({3}, kDim + 1, 3);
  CHECK_THROWS_AS(maxsim_matrix(other.view(), kDocs.view(), {}, scores.data()), std::invalid_argument);
  const std::vector<std::int64_t> offsets{0, 1, 1, 1, 1}, ids{8};
  CHECK_THROWS_AS(maxsim_lists(kQueries.view(), kDocs.view(), {offsets, ids}, {}, scores.data()),
                  std::out_of_range);
  struct Stop {};
  const MaxSimParams params{.progress = [](std::size_t, std::size_t) { throw Stop(); }};
  CHECK_THROWS_AS(maxsim_matrix(kQueries.view(), kDocs.view(), params, scores.data()), Stop);
}

TEST_CASE("ball carving adds up what is similar") {
  const std::vector<float> tokens{1, 0, 0, 1, 0.8f, 0.6f, 0, 0.9f};
  const std::vector<std::int64_t> offsets{0, 3, 3, 4};
  const RaggedVectors carved = ball_carving({{tokens.data(), 4, 2}, offsets}, 0.7f);
  CHECK(carved.offsets == std::vector<std::int64_t>{0, 2, 2, 3});
  CHECK(carved.tokens == std::vector<float>{1.8f, 0.6f, 0, 1, 0, 0.9f});
}
