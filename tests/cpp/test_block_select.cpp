// Selection and error bounds of the GPU, compiled for the host: the same templates with a block of one
// thread.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

#include "block_select.hpp"
#include "error_bound.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel::cuda {
namespace {

struct OneThread {
  static unsigned thread() { return 0; }
  static unsigned threads() { return 1; }
  static void sync() {}
  static std::uint32_t add(std::uint32_t* counter, std::uint32_t n) { return (*counter += n) - n; }
  static std::uint32_t exclusive_sum(std::uint32_t value, std::uint32_t& total) {
    total = value;
    return 0;
  }
  static std::uint32_t min(std::uint32_t value) { return value; }
  static std::uint32_t max(std::uint32_t value) { return value; }
};

std::uint32_t threshold(const std::vector<std::uint32_t>& keys, std::uint32_t k, std::uint32_t slack) {
  std::vector<std::uint32_t> bins(kBins, 12345);
  OneThread block;
  return select_threshold(block, k, slack, bins.data(), [&](auto f) {
    for (const std::uint32_t key : keys) f(key);
  });
}

std::uint32_t random_word(std::uint64_t seed, std::uint64_t i) {
  return static_cast<std::uint32_t>(random_bits(seed, RandomPurpose::kInsertionOrder, i));
}

TEST_CASE("keys order floats, and give them back") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {-inf, -3e38f, -1.5f, -1e-40f, -0.0f, 0.0f, 1e-40f, 1.5f, 3e38f, inf};
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(std::bit_cast<std::uint32_t>(ordered_value(ordered_key(values[i]))) ==
          std::bit_cast<std::uint32_t>(values[i]));
    if (i > 0) CHECK(ordered_key(values[i - 1]) < ordered_key(values[i]));
  }
  CHECK(ordered_key(inf) == kMissingKey);
  CHECK(ranked(1.0f, 7) < ranked(1.0f, 8));
  CHECK(ranked(1.0f, 8) < ranked(1.5f, 0));
}

TEST_CASE("the threshold is the k-th smallest key, with ties, missing keys and any spread") {
  for (std::uint64_t trial = 0; trial < 600; ++trial) {
    const std::size_t n = 1 + random_word(1, trial) % (trial % 3 == 0 ? 3000 : 40);
    std::vector<std::uint32_t> keys(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t word = random_word(trial + 10, i);
      switch (trial % 6) {
        case 0:
          keys[i] = word;
          break;
        case 1:
          keys[i] = 0x40000000u + word % 7;  // ties
          break;
        case 2:
          keys[i] = word % 3 == 0 ? kMissingKey : word >> 8;
          break;
        case 3:
          keys[i] = ordered_key(static_cast<float>(word % 1000) * 0.001f - 0.3f);
          break;
        case 4:
          keys[i] = i == 0 ? 0xff7fffffu : 0x80000000u + word % 5;  // one far from all others
          break;
        default:
          keys[i] = ordered_key(std::exp(static_cast<float>(word % 160) - 80.0f));
      }
      keys[i] = std::min(keys[i], kMissingKey);
    }
    std::vector<std::uint32_t> sorted;
    std::copy_if(keys.begin(), keys.end(), std::back_inserter(sorted),
                 [](auto k) { return k < kMissingKey; });
    std::sort(sorted.begin(), sorted.end());
    for (const std::uint32_t k : {1u, 2u, 10u, 100u, 1024u}) {
      const std::uint32_t exact = threshold(keys, k, 0);
      if (sorted.size() < k) {  // no k-th: no bound for anything
        CHECK(exact == kMissingKey - 1);
        continue;
      }
      const std::uint32_t kth = sorted[k - 1];
      // The same keys pass as do the k-th smallest.
      const auto passing = [&](std::uint32_t t) {
        return std::upper_bound(sorted.begin(), sorted.end(), t) - sorted.begin();
      };
      CHECK(passing(exact) == passing(kth));
      const std::uint32_t loose = threshold(keys, k, 16);
      CHECK(passing(loose) >= passing(kth));
      CHECK(passing(loose) <= std::max<std::ptrdiff_t>(passing(kth), k + 16));
    }
  }
}

TEST_CASE("sorting sorts") {
  OneThread block;
  for (const unsigned n : {2u, 4u, 64u, 2048u}) {
    std::vector<std::uint64_t> keys(n);
    for (unsigned i = 0; i < n; ++i)
      keys[i] = random_bits(n, RandomPurpose::kInsertionOrder, i) % (n / 2 + 1);
    std::vector<std::uint64_t> expected = keys;
    std::sort(expected.begin(), expected.end());
    sort_keys(block, keys.data(), n);
    CHECK(keys == expected);
  }
  CHECK(power_of_two(0) == 2);
  CHECK(power_of_two(3) == 4);
  CHECK(power_of_two(2048) == 2048);
}

TEST_CASE("the best keys of a stream are those of a sort") {
  for (const unsigned k : {1u, 10u, 1024u})
    for (const std::size_t n : {0u, 5u, 1024u, 9000u})
      for (const bool rising : {false, true}) {
        OneThread block;
        std::vector<std::uint64_t> room(kTopRoom), keys(n);
        std::uint32_t count = 7;
        for (std::size_t i = 0; i < n; ++i)
          keys[i] = rising ? n - i : random_bits(k, RandomPurpose::kInsertionOrder, i) >> 40;
        TopKeys<OneThread> best(block, room.data(), &count, k);
        best.start();
        for (std::size_t i = 0; i < n; ++i) {
          best.offer(keys[i]);
          if (i % kTopRound == kTopRound - 1) best.settle();
        }
        const unsigned found = best.finish();
        std::sort(keys.begin(), keys.end());
        keys.resize(std::min<std::size_t>(n, k));
        REQUIRE(found == keys.size());
        CHECK(std::equal(keys.begin(), keys.end(), room.begin()));
      }
}

/// To fp16 and back, for values in its range.
double to_half(double x) {
  if (x == 0) return 0;
  const double step = std::ldexp(1.0, std::max(std::ilogb(x), -14) - 10);
  return std::nearbyint(x / step) * step;
}

TEST_CASE("the error bound covers what a matrix unit that cuts off can do, and canonical rounding") {
  for (const std::size_t dim : {1u, 16u, 100u, 768u})
    for (std::uint64_t trial = 0; trial < 60; ++trial) {
      const std::size_t depth = (dim + 63) / 64 * 64;
      const bool l2 = trial % 2 == 0;
      double xx = 0, qq = 0, x_lost = 0, q_lost = 0, exact = 0;
      std::vector<float> xf(dim), qf(dim);
      std::vector<double> x(depth), q(depth), xh(depth), qh(depth);
      for (std::size_t j = 0; j < dim; ++j) {
        const auto value = [&](std::uint64_t seed) {
          const auto word = static_cast<std::int32_t>(random_word(seed, j));
          // Everything just above half a step of fp16, or values of all sizes, or equal ones.
          if (trial % 3 == 0)
            return static_cast<double>(static_cast<float>((word < 0 ? -1 : 1) * (1 + 0x1.01p-11)));
          if (trial % 3 == 1)
            return static_cast<double>(std::ldexp(static_cast<float>(word), -31 - word % 13));
          return 1.75;
        };
        x[j] = value(2 * trial);
        q[j] = trial % 4 == 3 ? x[j] : value(2 * trial + 1);
        xh[j] = to_half(x[j]);
        qh[j] = to_half(q[j]);
        xx += x[j] * x[j];
        qq += q[j] * q[j];
        x_lost += (x[j] - xh[j]) * (x[j] - xh[j]);
        q_lost += (q[j] - qh[j]) * (q[j] - qh[j]);
        exact += x[j] * q[j];
        xf[j] = static_cast<float>(x[j]);
        qf[j] = static_cast<float>(q[j]);
      }
      const float canonical = kernels::metric_kernels(kernels::active_table(), l2 ? Metric::kL2 : Metric::kIp)
                                  .canonical(qf.data(), xf.data(), dim);
      // One value after the other, with everything below 2^-23 of the larger term cut off: worse than 16 at a
      // time.
      const float bias = l2 ? static_cast<float>(xx / 2) : 0.0f;
      double sum = bias;
      for (std::size_t j = 0; j < depth; ++j) {
        const double product = -xh[j] * qh[j], largest = std::max(std::abs(sum), std::abs(product));
        if (largest == 0) continue;
        const double step = std::ldexp(1.0, std::ilogb(largest) - 23);
        sum = std::trunc(sum / step) * step + std::trunc(product / step) * step;
      }
      const OperandBounds rows{std::sqrt(xx), std::sqrt(x_lost), bias};
      const QueryNorms query{std::sqrt(qq), std::sqrt(q_lost)};
      const double bound = score_error(l2, dim, depth, rows, query, l2 ? 2.0 : 1.0);
      const double from_score = l2 ? 2 * sum + qq : sum;
      const double unit = l2 ? 2 : 1;
      CHECK(std::abs(from_score - static_cast<double>(canonical)) <= bound * unit);
      CHECK(std::abs(from_score - (l2 ? xx + qq - 2 * exact : -exact)) <= bound * unit);
      CHECK(bound > 0);
    }
}

TEST_CASE("the error bound is infinite where distances could overflow") {
  const OperandBounds rows{1000, 0.1, 500000};
  const QueryNorms query{1000, 0.1};
  CHECK(std::isfinite(score_error(true, 10, 64, rows, query, 2)));
  CHECK(std::isinf(score_error(true, 10, 64, rows, query, 0x1p107)));
  CHECK(std::isinf(score_error(false, 10, 64, rows, query, 0x1p107)));
}

}  // namespace
}  // namespace whimbrel::cuda
