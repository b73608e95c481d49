#include "whimbrel/insertion_order.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

void check_size(const char* name, std::size_t got, std::size_t expected) {
  if (got != expected)
    throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(expected) +
                                " values, got " + std::to_string(got));
}

}  // namespace

void order_by_value(std::span<const double> values, bool descending, std::span<std::int64_t> order) {
  check_size("order", order.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isnan(values[i]))
      throw std::invalid_argument("values: expected no NaN, got one at " + std::to_string(i));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    return descending ? x > y : x < y;
  });
}

void random_order(std::uint64_t seed, std::span<std::int64_t> order) {
  CountedVector<std::uint64_t> key(order.size());
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = random_bits(seed, RandomPurpose::kInsertionOrder, i);
  std::iota(order.begin(), order.end(), std::int64_t{0});
  // Equal keys, one in 2^64 pairs, keep their positions.
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return key[static_cast<std::size_t>(a)] < key[static_cast<std::size_t>(b)];
  });
}

void order_by_category(std::span<const std::int64_t> labels, std::uint64_t seed,
                       std::span<std::int64_t> order) {
  check_size("order", order.size(), labels.size());
  random_order(seed, order);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return labels[static_cast<std::size_t>(a)] < labels[static_cast<std::size_t>(b)];
  });
}

void distance_to_mean(MatrixView<const float> data, std::size_t threads, std::span<double> out) {
  check_size("out", out.size(), data.rows);
  // Summed in row order by one thread: the mean must not depend on the number of threads.
  std::vector<double> mean(data.cols);
  for (std::size_t i = 0; i < data.rows; ++i)
    for (std::size_t j = 0; j < data.cols; ++j) mean[j] += data.row(i)[j];
  for (double& m : mean) m /= static_cast<double>(std::max<std::size_t>(data.rows, 1));
  constexpr std::size_t kRows = 1024;
  parallel_for((data.rows + kRows - 1) / kRows, resolve_threads(threads), [&](std::size_t item, std::size_t) {
    for (std::size_t i = item * kRows; i < std::min(data.rows, (item + 1) * kRows); ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < data.cols; ++j) {
        const double t = data.row(i)[j] - mean[j];
        sum += t * t;
      }
      out[i] = sum;
    }
  });
}

}  // namespace whimbrel
