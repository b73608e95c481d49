// The linkers of bulk builds: lists that are none are refused, and candidates come from rows before.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

std::vector<float> random_rows(std::size_t n, std::size_t d, int values) {
  std::vector<float> rows(n * d);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] =
        static_cast<float>(random_bits(3, RandomPurpose::kInsertionOrder, i) % static_cast<unsigned>(values));
  return rows;
}

void check_against_all_pairs(std::size_t n, std::size_t first, std::size_t d, std::size_t k, Metric metric,
                             int values) {
  CAPTURE(n);
  CAPTURE(first);
  CAPTURE(k);
  std::vector<float> rows = random_rows(n, d, values);
  std::vector<std::int64_t> ids((n - first) * k, -7);
  std::vector<float> distances((n - first) * k, -7);
  KnnParams params;
  params.k = k;
  params.metric = metric;
  knn_earlier({rows.data(), n, d}, first, params, ids.data(), distances.data());
  if (metric == Metric::kCosine)
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<float> row(rows.begin() + static_cast<std::ptrdiff_t>(i * d),
                                   rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * d));
      normalize(row.data(), d, rows.data() + i * d);
    }
  const auto kernel = kernels::metric_kernels(kernels::active_table(), metric).canonical;
  bool equal = true;
  for (std::size_t i = first; i < n; ++i) {
    std::vector<std::pair<float, std::int64_t>> all;
    for (std::size_t j = 0; j < i; ++j)
      all.emplace_back(kernel(rows.data() + i * d, rows.data() + j * d, d), static_cast<std::int64_t>(j));
    std::sort(all.begin(), all.end());
    all.resize(k, {std::numeric_limits<float>::infinity(), -1});
    for (std::size_t j = 0; j < k; ++j) {
      const float shift = metric == Metric::kCosine ? 1.0f : 0.0f;
      equal = equal && ids[(i - first) * k + j] == all[j].second &&
              distances[(i - first) * k + j] == all[j].first + shift;
    }
  }
  CHECK(equal);
}

HnswIndex build_with(const LevelLinker& link) {
  const std::vector<float> rows = random_rows(3, 2, 100);
  HnswParams params;
  params.M = 2;
  return HnswIndex::bulk_build({rows.data(), 3, 2}, params, {}, link);
}

constexpr std::uint32_t none = kNoLink;

/// Gives every row the same list.
LevelLinker constant(std::vector<std::uint32_t> list) {
  return [list](const LevelToLink& level, std::uint32_t* lists) {
    for (std::size_t i = 0; i < level.rows.rows; ++i)
      for (std::size_t j = 0; j < level.capacity; ++j) lists[i * level.capacity + j] = list[j];
  };
}

}  // namespace

TEST_CASE("the nearest earlier rows are those of all pairs") {
  for (const Metric metric : {Metric::kL2, Metric::kIp, Metric::kCosine}) {
    for (const int values : {3, 1000}) {  // with ties, and with few
      check_against_all_pairs(0, 0, 5, 3, metric, values);
      check_against_all_pairs(1, 0, 5, 3, metric, values);
      check_against_all_pairs(50, 0, 5, 60, metric, values);
      check_against_all_pairs(1500, 0, 5, 3, metric, values);
      check_against_all_pairs(1500, 1111, 40, 20, metric, values);
      check_against_all_pairs(1500, 1499, 40, 2, metric, values);
      check_against_all_pairs(1500, 1500, 40, 2, metric, values);
    }
  }
}

TEST_CASE("rows before none are refused, and values that are not finite in any row") {
  std::vector<float> rows(1000 * 4, 1.0f);
  std::vector<std::int64_t> ids(1000);
  std::vector<float> distances(1000);
  KnnParams params;
  params.k = 1;
  CHECK_THROWS_AS(knn_earlier({rows.data(), 1000, 4}, 1001, params, ids.data(), distances.data()),
                  std::invalid_argument);
  rows.back() = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(knn_earlier({rows.data(), 1000, 4}, 0, params, ids.data(), distances.data()),
                  std::invalid_argument);
}

TEST_CASE("lists of a linker are checked") {
  CHECK_THROWS_AS(build_with(constant({3, none, none, none})), std::invalid_argument);  // no such row
  CHECK_THROWS_AS(build_with(constant({1, none, none, none})), std::invalid_argument);  // row 1 itself
  CHECK_THROWS_AS(build_with(constant({none, 2, none, none})), std::invalid_argument);  // behind the end
  const LevelLinker twice = [](const LevelToLink& level, std::uint32_t* lists) {
    std::fill_n(lists, level.rows.rows * level.capacity, none);
    lists[0] = lists[1] = 2;
  };
  CHECK_THROWS_AS(build_with(twice), std::invalid_argument);
}

TEST_CASE("what a linker leaves apart is reachable in the end") {
  CHECK(build_with(constant({none, none, none, none})).validate().unreachable == 0);
  CHECK(build_with(link_nearest(knn_earlier)).validate().unreachable == 0);
}
