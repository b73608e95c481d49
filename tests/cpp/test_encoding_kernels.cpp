// The kernels of the encoder of vector sets, every instruction set against plain loops. Integer values make
// every sum exact.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/dispatch.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

std::vector<float> integers(std::size_t n, std::uint64_t seed) {
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = static_cast<float>(random_bits(seed, RandomPurpose::kInsertionOrder, i) % 41) - 20.0f;
  return out;
}

}  // namespace

TEST_CASE("transposing moves every value to its place and touches nothing else") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t rows : {1, 3, 4, 9, 48})
      for (const std::size_t cols : {1, 2, 4, 7, 16, 33}) {
        const auto in = integers(rows * (cols + 3), 1);
        std::vector<float> out(cols * (rows + 2), -77.0f);
        table->encoding->transpose(in.data(), cols + 3, rows, cols, out.data(), rows + 2);
        for (std::size_t c = 0; c < cols; ++c)
          for (std::size_t r = 0; r < rows + 2; ++r)
            CHECK(out[c * (rows + 2) + r] == (r < rows ? in[r * (cols + 3) + c] : -77.0f));
      }
}

TEST_CASE("sign bits are read with the first row highest, and columns within their bounds are reported") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t n_bits : {0, 1, 5, 24}) {
      const std::size_t cols = table->tile_cols;
      const auto products = integers(n_bits * cols, 2);
      std::vector<float> bounds(cols);
      for (std::size_t c = 0; c < cols; ++c) bounds[c] = static_cast<float>(c % 4) - 1.0f;
      std::vector<std::uint32_t> bits(cols + 1, 12345u);
      const std::uint64_t doubtful =
          table->encoding->sign_bits(products.data(), n_bits, bounds.data(), bits.data());
      for (std::size_t c = 0; c < cols; ++c) {
        std::uint32_t expected = 0;
        bool in_doubt = false;
        for (std::size_t j = 0; j < n_bits; ++j) {
          expected = 2 * expected + (products[j * cols + c] > 0 ? 1 : 0);
          in_doubt |= std::abs(products[j * cols + c]) <= bounds[c];
        }
        CHECK(bits[c] == expected);
        CHECK((doubtful >> c & 1) == in_doubt);
      }
      CHECK(bits[cols] == 12345u);
      CHECK((doubtful >> (cols - 1)) <= 1);
    }
}

TEST_CASE("products that are not numbers are in doubt under an infinite bound") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    const std::size_t cols = table->tile_cols;
    const std::vector<float> products(cols, std::nanf("")), bounds(cols, INFINITY);
    std::vector<std::uint32_t> bits(cols);
    CHECK(table->encoding->sign_bits(products.data(), 1, bounds.data(), bits.data()) ==
          (std::uint64_t{1} << cols) - 1);
    CHECK(std::all_of(bits.begin(), bits.end(), [](std::uint32_t b) { return b == 0; }));
  }
}

TEST_CASE("a sketch adds and subtracts the rows of its lists") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    constexpr std::size_t kDim = 13, kBuckets = 3;
    const std::size_t cols = table->tile_cols;
    const auto panel = integers(kDim * cols, 3);
    // Bucket 0: +2 +5 -1; bucket 1: nothing; bucket 2: the rest, subtracted.
    const std::vector<std::uint32_t> order{2, 5, 1, 0, 3, 4, 6, 7, 8, 9, 10, 11, 12}, ends{2, 3, 3, 3, 3, 13};
    std::vector<float> out(kBuckets * cols);
    table->encoding->sketch(panel.data(), order.data(), ends.data(), kBuckets, out.data());
    for (std::size_t c = 0; c < cols; ++c) {
      float rest = 0;
      for (std::size_t i = 3; i < kDim; ++i) rest -= panel[order[i] * cols + c];
      CHECK(out[c] == panel[2 * cols + c] + panel[5 * cols + c] - panel[cols + c]);
      CHECK(out[cols + c] == 0.0f);
      CHECK(out[2 * cols + c] == rest);
    }
  }
}

TEST_CASE("rows are added to their cells and to nothing else") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t width : {1, 3, 4, 8, 16, 19, 37}) {
      constexpr std::size_t kRows = 11, kCells = 4;
      const auto rows = integers(kRows * (width + 1), 4);
      std::vector<std::uint32_t> cells(kRows);
      for (std::size_t t = 0; t < kRows; ++t) cells[t] = static_cast<std::uint32_t>(t * t % kCells);
      std::vector<float> sums(kCells * width + 1, 1.0f), expected = sums;
      table->encoding->add_by_cell(rows.data(), width + 1, kRows, width, cells.data(), sums.data());
      for (std::size_t t = 0; t < kRows; ++t)
        for (std::size_t j = 0; j < width; ++j) expected[cells[t] * width + j] += rows[t * (width + 1) + j];
      CHECK(sums == expected);
    }
}
