// What of the encoder Python does not see: the reference's random streams, and which token fills a cell.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "fde/cells.hpp"
#include "fde/google_stream.hpp"
#include "fde/natural_log.hpp"
#include "fde/random_objects.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

FdeParams google_params(std::uint64_t seed, std::size_t d_proj) {
  FdeParams params;
  params.dim = 8;
  params.d_proj = d_proj;
  params.seed = seed;
  params.mode = FdeMode::kGoogle;
  return params;
}

void check_sketch(std::uint64_t seed, std::size_t d_proj, const std::vector<std::uint32_t>& buckets,
                  const std::string& signs) {
  const CountSketch sketch = draw_sketch(google_params(seed, d_proj), 0);
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    CHECK(sketch.bucket[i] == buckets[i]);
    CHECK((sketch.negative[i] != 0) == (signs[i] == '-'));
  }
}

}  // namespace

TEST_CASE("the logarithm has an error of a few units in the last place") {
  std::mt19937_64 words(1);
  for (int i = 0; i < 10000; ++i) {
    const double x =
        std::ldexp(1 + static_cast<double>(words() >> 12) * 0x1p-52, static_cast<int>(words() % 200) - 150);
    CHECK(natural_log(x) == doctest::Approx(std::log(x)).epsilon(1e-15));
  }
  CHECK(natural_log(1) == 0);
}

TEST_CASE("normal numbers of the reference, known values") {
  const std::vector<std::vector<double>> known{
      {0.306400, 0.156066, -0.424386, -0.568040, -0.204547, -0.806289, -0.428738, -1.200044},
      {-1.303106, -0.264848, 0.641980, 0.071209, -0.652074, -2.765385, -1.767485, -0.784275}};
  for (std::uint32_t seed = 1; seed <= 2; ++seed) {
    GoogleStream stream(seed);
    for (const double value : known[seed - 1]) CHECK(std::abs(stream.normal() - value) < 6e-7);
  }
}

TEST_CASE("count sketches of the reference, known values") {
  check_sketch(1, 4, {1, 3, 1, 0, 0, 2, 2, 1}, "-++++-+-");
  check_sketch(1, 16, {6, 14, 4, 3, 2, 10, 8, 5}, "-++++-+-");
  check_sketch(2, 4, {1, 3, 1, 1, 0, 0, 1, 3}, "+-++-+--");
}

#if defined(__GLIBCXX__) && _GLIBCXX_RELEASE >= 11
TEST_CASE("the written-out distributions are those of this standard library") {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    GoogleStream stream(seed);
    std::mt19937 words(seed);
    std::normal_distribution<float> normal;
    int same = 0;
    for (int i = 0; i < 1000; ++i) {
      const float ours = stream.normal(), theirs = normal(words);
      // The last place of the logarithm may differ.
      CHECK(std::abs(ours - theirs) <= 2 * std::abs(theirs) * std::numeric_limits<float>::epsilon());
      same += ours == theirs;
    }
    CHECK(same > 900);
    for (const std::uint32_t n : {1u, 3u, 16u, 1000u, 3000000000u}) {
      std::uniform_int_distribution<std::uint32_t> integer(0, n - 1);
      std::bernoulli_distribution coin(0.5);
      for (int i = 0; i < 100; ++i) {
        CHECK(stream.below(n) == integer(words));
        CHECK(stream.negative() == !coin(words));
      }
    }
  }
}
#endif

TEST_CASE("native normal numbers have the moments of the normal distribution") {
  FdeParams params;
  params.dim = 1000;
  params.k_sim = 10;
  double sum = 0, squares = 0, fourth = 0;
  const std::vector<float> planes = draw_hyperplanes(params);
  for (const float x : planes) {
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const auto n = static_cast<double>(planes.size());
  CHECK(std::abs(sum / n) < 0.01);
  CHECK(std::abs(squares / n - 1) < 0.01);
  CHECK(std::abs(fourth / n - 3) < 0.05);
}

TEST_CASE("Gray decoding is the table of the reference, and is undone by x ^ x >> 1") {
  const std::vector<std::uint32_t> known{0, 1, 3, 2, 7, 6, 4, 5};
  for (std::uint32_t bits = 0; bits < known.size(); ++bits) CHECK(gray_to_number(bits) == known[bits]);
  for (std::uint32_t bits = 0; bits < 5000; ++bits) {
    const std::uint32_t number = gray_to_number(bits);
    CHECK((number ^ number >> 1) == bits);
  }
}

TEST_CASE("an empty cell gets the first of the nearest tokens, as brute force finds it") {
  for (const std::uint32_t k_sim : {0u, 1u, 3u, 5u, 8u})
    for (std::size_t n_tokens = 1; n_tokens < 60; n_tokens += 7) {
      CellCensus census(k_sim);
      for (std::uint64_t round = 0; round < 3; ++round) {
        std::vector<std::uint32_t> cells(n_tokens);
        for (std::size_t t = 0; t < n_tokens; ++t)
          cells[t] = static_cast<std::uint32_t>(
              random_bits(round, RandomPurpose::kInsertionOrder, t * 64 + k_sim) >> 32 & ((1u << k_sim) - 1));
        census.take(cells);
        census.fill();
        std::size_t n_empty = 0;
        for (std::uint32_t cell = 0; cell < 1u << k_sim; ++cell) {
          std::size_t best = 0;
          for (std::size_t t = 1; t < n_tokens; ++t)
            if (std::popcount(cells[t] ^ cell) < std::popcount(cells[best] ^ cell)) best = t;
          CHECK(census.nearest(cell) == best);
          CHECK(census.count(cell) == std::count(cells.begin(), cells.end(), cell));
          n_empty += census.count(cell) == 0;
        }
        CHECK(census.empty().size() == n_empty);
      }
    }
}
