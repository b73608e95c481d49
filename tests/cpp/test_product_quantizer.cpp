// Codes against a search through all centroids, tables against inner products.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "quantize/product_quantizer.hpp"
#include "random_sets.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 21, kRows = 700;  // two groups and five coordinates

struct Coded {
  explicit Coded(std::size_t threads)
      : rows(pointers()), meter({}, kRows), quantizer(kDim, rows, 3, threads, meter) {
    codes.resize(kRows * quantizer.groups());
    std::vector<std::uint8_t*> out;
    out.reserve(kRows);
    for (std::size_t i = 0; i < kRows; ++i) out.push_back(&codes[i * quantizer.groups()]);
    quantizer.encode(rows, out, threads, meter);
  }
  static std::vector<const float*> pointers() {
    static const RandomSets data({kRows}, kDim, 5);
    std::vector<const float*> out;
    out.reserve(kRows);
    for (std::size_t i = 0; i < kRows; ++i) out.push_back(&data.tokens[i * kDim]);
    return out;
  }
  float centroid(std::size_t group, std::size_t c, std::size_t k) const {
    return quantizer.codebook()[(group * 8 + k) * 256 + c];
  }
  double error(std::size_t row, std::size_t group, std::size_t c) const {
    double sum = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      const double x = group * 8 + k < kDim ? rows[row][group * 8 + k] : 0.0;
      sum += (x - centroid(group, c, k)) * (x - centroid(group, c, k));
    }
    return sum;
  }

  std::vector<const float*> rows;
  ProgressMeter meter;
  ProductQuantizer quantizer;
  std::vector<std::uint8_t> codes;
};

}  // namespace

TEST_CASE("codes are nearest centroids, and nearer than an average one") {
  const Coded coded(1);
  CHECK(coded.quantizer.groups() == 3);
  double total = 0, energy = 0;
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t g = 0; g < 3; ++g) {
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t c = 0; c < 256; ++c) least = std::min(least, coded.error(i, g, c));
      const double own = coded.error(i, g, coded.codes[i * 3 + g]);
      CHECK(own <= least + 1e-5);
      total += own;
      for (std::size_t k = 0; k < 8 && g * 8 + k < kDim; ++k)
        energy += coded.rows[i][g * 8 + k] * coded.rows[i][g * 8 + k];
    }
  CHECK(total < 0.3 * energy);
}

TEST_CASE("codes do not depend on the number of threads") {
  const Coded one(1), three(3);
  CHECK(one.codes == three.codes);
  CHECK(one.quantizer.codebook() == three.quantizer.codebook());
}

TEST_CASE("tables hold negated inner products of the groups that are not zero") {
  const Coded coded(1);
  std::vector<float> query(kDim);
  for (std::size_t k = 0; k < kDim; ++k) query[k] = k / 8 == 1 ? 0.0f : 0.25f * static_cast<float>(k) - 2.0f;
  ProductQuantizer::Table table;
  for (int repeat = 0; repeat < 2; ++repeat) coded.quantizer.fill(query.data(), table);
  CHECK(table.groups == std::vector<std::uint32_t>{0, 2});
  CHECK(table.entries.size() == 512);
  for (std::size_t j = 0; j < 2; ++j)
    for (std::size_t c = 0; c < 256; ++c) {
      double expected = 0;
      const std::size_t g = table.groups[j];
      for (std::size_t k = 0; k < 8 && g * 8 + k < kDim; ++k)
        expected -= query[g * 8 + k] * coded.centroid(g, c, k);
      CHECK(std::abs(table.entries[j * 256 + c] - expected) < 1e-4);
    }
}
