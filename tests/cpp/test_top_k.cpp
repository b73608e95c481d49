#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "base/top_k.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

/// Scores with many ties, in the order of their ids.
ScoredList stream(std::size_t n, std::uint64_t seed) {
  ScoredList out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = {static_cast<float>(random_bits(seed, RandomPurpose::kInsertionOrder, i) % 50),
              static_cast<std::uint32_t>(i)};
  return out;
}

void check_equal(const ScoredList& got, const ScoredList& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i].id == expected[i].id);
    CHECK(got[i].score == expected[i].score);
  }
}

}  // namespace

TEST_CASE("the best k by score, then id, whatever the length of the stream") {
  for (const std::size_t k : {1, 2, 10, 64})
    for (const std::size_t n : {0, 1, 10, 63, 64, 65, 127, 128, 129, 2000}) {
      auto expected = stream(n, k);
      TopK best(k);
      for (const Scored& s : expected) best.push(s.score, s.id);
      std::sort(expected.begin(), expected.end());
      expected.resize(std::min(n, k));
      check_equal(best.finish(), expected);
    }
}

TEST_CASE("merged parts are the whole, and nothing dropped is below the bound") {
  for (const std::size_t k : {1, 7, 20}) {
    auto all = stream(3000, 99);
    std::vector<TopK> parts(3, TopK(k));
    for (const Scored& s : all) parts[s.id / 1000].push(s.score, s.id);
    parts[0].merge(parts[1]);
    parts[0].merge(parts[2]);
    auto best = parts[0].finish();
    std::sort(all.begin(), all.end());
    for (std::size_t i = k; i < all.size(); ++i) CHECK(all[i].score >= parts[0].bound());
    all.resize(k);
    check_equal(best, all);
  }
}

TEST_CASE("a score that is not a number or infinite is never kept") {
  TopK best(2);
  best.push(std::numeric_limits<float>::quiet_NaN(), 0);
  best.push(std::numeric_limits<float>::infinity(), 1);
  best.push(3.0f, 2);
  check_equal(best.finish(), {{3.0f, 2}});
}
