// Codes of 8 and of 4 bits per coordinate: their kernels on every instruction set of this machine, and
// quantizers.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/memory.hpp"
#include "kernels/dispatch.hpp"
#include "quantize/scalar_quantizer.hpp"
#include "quantize/subspace.hpp"
#include "random_values.hpp"

using namespace whimbrel;

namespace {

/// Rows of codes with a float at their end, and a query; the extremes if `extreme`.
struct Codes {
  BlockRows<std::uint8_t> rows;
  AlignedArray<std::int8_t> query;
  std::vector<std::uint32_t> ids;
  std::size_t bytes;

  Codes(std::size_t bytes_, std::size_t n, bool extreme)
      : rows(bytes_ + kernels::kCodeLine), query(bytes_), ids(n), bytes(bytes_) {
    rows.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < rows.stride(); ++j)
        rows.row(i)[j] =
            extreme ? 255 : static_cast<std::uint8_t>(random_bits(i, RandomPurpose::kSubspace, j));
      const auto tail = static_cast<float>(i);
      std::memcpy(rows.row(i) + rows.stride() - sizeof tail, &tail, sizeof tail);
    }
    for (std::size_t j = 0; j < bytes; ++j)
      query[j] = extreme ? std::int8_t{-127}
                         : static_cast<std::int8_t>(
                               static_cast<int>(random_bits(n, RandomPurpose::kSubspace, j) % 255) - 127);
    std::iota(ids.begin(), ids.end(), 0u);
    std::reverse(ids.begin(), ids.end());
  }
};

}  // namespace

TEST_CASE("sums of codes are exact on every instruction set, up to the largest row") {
  for (const std::size_t bytes : {64, 128, 192, 384, 1024, 65536})
    for (const bool extreme : {false, true})
      for (const std::size_t n : {1, 3, 4, 7, 8, 9, 13, 33}) {
        const Codes codes(bytes, n, extreme);
        const kernels::RowBlocks<std::uint8_t> rows{codes.rows.blocks(), codes.rows.shift(),
                                                    codes.rows.mask(), codes.rows.stride()};
        const kernels::CodeQuery query{codes.query.data(), bytes, -0.37f};
        CAPTURE(bytes);
        CAPTURE(n);
        for (const kernels::KernelTable* table : kernels::available_tables()) {
          CAPTURE(table->isa);
          std::vector<float> l2(n), ip(n);
          table->l2.code_ids(query, rows, codes.ids.data(), n, l2.data());
          table->ip.code_ids(query, rows, codes.ids.data(), n, ip.data());
          for (std::size_t i = 0; i < n; ++i) {
            std::int64_t sum = 0;
            for (std::size_t j = 0; j < bytes; ++j)
              sum += std::int64_t{codes.rows.row(codes.ids[i])[j]} * codes.query[j];
            const float product = -0.37f * static_cast<float>(sum);
            CHECK(ip[i] == product);
            CHECK(l2[i] == static_cast<float>(codes.ids[i]) + product);
          }
        }
      }
}

TEST_CASE("distances between codes are whole numbers, rounded once, on every instruction set") {
  for (const std::size_t bytes : {64, 192, 448, 1024, 32768})
    for (const bool extreme : {false, true})
      for (const std::size_t n : {1, 4, 5, 9}) {
        const Codes codes(bytes, n, extreme);
        const kernels::RowBlocks<std::uint8_t> rows{codes.rows.blocks(), codes.rows.shift(),
                                                    codes.rows.mask(), codes.rows.stride()};
        // The point is a row of zeros, the farthest from the extremes: -128 in the form that is multiplied.
        AlignedArray<std::int8_t> values(bytes);
        std::fill_n(values.data(), bytes, std::int8_t{-128});
        std::vector<kernels::CodeTerms> terms(n);
        std::vector<double> l2(n), ip(n);
        for (std::size_t i = 0; i < n; ++i) {
          double squares = 0;
          for (std::size_t j = 0; j < bytes; ++j) {
            const double e = static_cast<double>(codes.rows.row(i)[j]) - 128;
            squares += e * e;
            l2[i] += (e + 128) * (e + 128);
            ip[i] += e * 128;
          }
          terms[i] = {static_cast<std::uint32_t>(squares), 0};
        }
        const double own = 16384.0 * static_cast<double>(bytes), sum = -128.0 * static_cast<double>(bytes);
        const auto term = [](double x) { return static_cast<std::uint32_t>(static_cast<std::int64_t>(x)); };
        const std::vector<kernels::CodeTerms> none(n);
        for (const kernels::KernelTable* table : kernels::available_tables()) {
          CAPTURE(table->isa);
          CAPTURE(bytes);
          std::vector<float> out(n);
          table->l2.code_pairs({values.data(), bytes, term(own + 256 * sum)}, rows, terms.data(),
                               codes.ids.data(), n, out.data());
          for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == static_cast<float>(l2[codes.ids[i]]));
          table->ip.code_pairs({values.data(), bytes, term(128 * sum)}, rows, none.data(), codes.ids.data(),
                               n, out.data());
          for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == static_cast<float>(ip[codes.ids[i]]));
        }
      }
}

TEST_CASE("sums of 4-bit codes are exact on every instruction set, and so are distances between them") {
  for (const std::size_t dim : {1, 2, 65, 127, 128, 129, 384, 1000, 32768})
    for (const bool extreme : {false, true}) {
      constexpr std::size_t kRows = 7;
      const CodeLayout layout{dim, 4};
      CHECK(layout.bytes() == (dim + 1) / 2);
      const std::size_t bytes = round_up(layout.bytes(), kernels::kCodeLine);
      BlockRows<std::uint8_t> rows(bytes + kernels::kCodeLine);  // with a tail
      rows.resize(kRows);
      AlignedArray<std::int8_t> query(layout.value_bytes(bytes)), point(layout.value_bytes(bytes));
      std::vector<std::uint32_t> ids(kRows);
      std::iota(ids.begin(), ids.end(), 0u);
      const auto code = [&](std::size_t i, std::size_t c) {
        return extreme ? 15 : static_cast<int>(random_bits(i, RandomPurpose::kSubspace, c) % 16);
      };
      const auto value = [&](std::size_t c) {
        return extreme ? -127 : static_cast<int>(random_bits(kRows, RandomPurpose::kSubspace, c) % 255) - 127;
      };
      for (std::size_t c = 0; c < dim; ++c) query[layout.value_of(c)] = static_cast<std::int8_t>(value(c));
      std::vector<kernels::CodeTerms> terms(kRows), none(kRows);
      std::vector<std::int64_t> sum(kRows), l2(kRows), ip(kRows);
      for (std::size_t i = 0; i < kRows; ++i) {
        std::int64_t squares = 0;
        for (std::size_t c = 0; c < dim; ++c) {
          layout.put(rows.row(i), c, static_cast<std::uint8_t>(code(i, c)));
          // The point is the first row, or one of zeros, the farthest from the extremes.
          const int e = code(i, c) - 8, f = (extreme ? 0 : code(0, c)) - 8;
          sum[i] += std::int64_t{code(i, c)} * value(c);
          squares += e * e;
          l2[i] += (e - f) * (e - f);
          ip[i] -= e * f;
        }
        terms[i].row = static_cast<std::uint32_t>(squares);
        for (std::size_t c = 0; c < dim; ++c) REQUIRE(layout.at(rows.row(i), c) == code(i, c));
        const auto tail = static_cast<float>(i);
        std::memcpy(rows.row(i) + rows.stride() - sizeof tail, &tail, sizeof tail);
      }
      std::int64_t own = 0, total = 0;
      for (std::size_t c = 0; c < dim; ++c) {
        const int f = (extreme ? 0 : code(0, c)) - 8;
        own += f * f;
        total += f;
      }
      std::vector<std::uint8_t> zeros(bytes);
      layout.signed_values(extreme ? zeros.data() : rows.row(0), point.data());
      const kernels::RowBlocks<std::uint8_t> blocks{rows.blocks(), rows.shift(), rows.mask(), rows.stride()};
      const auto term = [](std::int64_t x) { return static_cast<std::uint32_t>(x); };
      for (const kernels::KernelTable* table : kernels::available_tables()) {
        CAPTURE(table->isa);
        CAPTURE(dim);
        std::vector<float> out(kRows);
        table->l2.nibble_ids({query.data(), bytes, -0.37f}, blocks, ids.data(), kRows, out.data());
        for (std::size_t i = 0; i < kRows; ++i)
          CHECK(out[i] == static_cast<float>(i) + -0.37f * static_cast<float>(sum[i]));
        table->ip.nibble_ids({query.data(), bytes, -0.37f}, blocks, ids.data(), kRows, out.data());
        for (std::size_t i = 0; i < kRows; ++i) CHECK(out[i] == -0.37f * static_cast<float>(sum[i]));
        table->l2.nibble_pairs({point.data(), bytes, term(own + 16 * total)}, blocks, terms.data(),
                               ids.data(), kRows, out.data());
        for (std::size_t i = 0; i < kRows; ++i) CHECK(out[i] == static_cast<float>(l2[i]));
        table->ip.nibble_pairs({point.data(), bytes, term(8 * total)}, blocks, none.data(), ids.data(), kRows,
                               out.data());
        for (std::size_t i = 0; i < kRows; ++i) CHECK(out[i] == static_cast<float>(ip[i]));
      }
    }
}

TEST_CASE("projections have the same bits on every instruction set and are near double precision") {
  for (const std::size_t d : {1, 5, 64, 300})
    for (const std::size_t n : {16, 64, 128, 144, 256}) {
      const auto x = values(d, 1), columns = values(d * n, 2);
      const auto tables = kernels::available_tables();
      std::vector<float> first(n, 0.5f);
      tables[0]->project(x.data(), d, columns.data(), n, first.data());
      for (const kernels::KernelTable* table : tables) {
        std::vector<float> out(n, 0.5f);
        table->project(x.data(), d, columns.data(), n, out.data());
        CHECK(out == first);
      }
      for (std::size_t c = 0; c < n; ++c) {
        double sum = 0.5;
        for (std::size_t j = 0; j < d; ++j) sum += double{x[j]} * double{columns[j * n + c]};
        CHECK(std::abs(first[c] - sum) < 1e-4);
      }
    }
}

TEST_CASE("a subspace holds nearly all the variance that so many dimensions can hold") {
  // Independent coordinates whose deviations fall as 1 / (1 + j).
  constexpr std::size_t kRows = 2000, kDim = 80, kColumns = 16;
  auto data = values(kRows * kDim, 3);
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t j = 0; j < kDim; ++j) data[i * kDim + j] /= static_cast<float>(1 + j);
  const auto basis = principal_subspace({data.data(), kRows, kDim}, kColumns, 1);
  double best = 0, held = 0;
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kColumns; ++j) best += std::pow(data[i * kDim + j], 2);
    for (std::size_t c = 0; c < kColumns; ++c) {
      double sum = 0;
      for (std::size_t j = 0; j < kDim; ++j)
        sum += double{data[i * kDim + j]} * double{basis[j * kColumns + c]};
      held += sum * sum;
    }
  }
  CHECK(held > 0.98 * best);
  for (std::size_t a = 0; a < kColumns; ++a)
    for (std::size_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (std::size_t j = 0; j < kDim; ++j)
        sum += double{basis[j * kColumns + a]} * double{basis[j * kColumns + b]};
      CHECK(std::abs(sum - (a == b)) < 1e-5);
    }
  const auto again = principal_subspace({data.data(), kRows, kDim}, kColumns, 3);
  CHECK(std::memcmp(again.data(), basis.data(), kDim * kColumns * sizeof(float)) == 0);
}

TEST_CASE("distances of codes are within the step of the true ones, outliers and constants included") {
  constexpr std::size_t kRows = 3000, kDim = 70;
  auto data = values(kRows * kDim, 4);
  for (std::size_t i = 0; i < kRows; ++i) data[i * kDim + 7] = 3.5f;  // varies nowhere
  data[11 * kDim + 5] = 1e6f;
  const MatrixView<const float> rows{data.data(), kRows, kDim};
  for (const Codec codec : {Codec::kSq8, Codec::kSq4}) {
    const ScalarQuantizer quantizer = train_scalar_quantizer(rows, Metric::kL2, codec, 1);
    REQUIRE(quantizer.code_dim == kDim);
    const bool coarse = codec == Codec::kSq4;
    CHECK(quantizer.bits == (coarse ? 4 : 8));
    CHECK(quantizer.step < (coarse ? 0.2f : 0.02f));  // the outlier did not stretch it
    BlockRows<std::uint8_t> codes(quantizer.stride());
    codes.resize(kRows);
    ScalarQuantizer::Scratch scratch(quantizer);
    for (std::size_t i = 0; i < kRows; ++i) quantizer.encode(rows.row(i), scratch, codes.row(i));
    const auto& l2 = kernels::active_table().l2;
    std::vector<std::uint32_t> ids(kRows);
    std::iota(ids.begin(), ids.end(), 0u);
    std::vector<float> coded(kRows), decoded(kDim);
    quantizer.ids_kernel(l2)(quantizer.encode_query(rows.row(0), scratch),
                             {codes.blocks(), codes.shift(), codes.mask(), codes.stride()}, ids.data(), kRows,
                             coded.data());
    // Coded distances leave out a constant, the same for all rows.
    const float shift = coded[0];
    for (std::size_t i = 1; i < kRows; ++i) {
      const float exact = l2.canonical(rows.row(0), rows.row(i), kDim);
      if (i == 11)
        CHECK(coded[i] - shift < exact);
      else
        CHECK(std::abs(coded[i] - shift - exact) < (coarse ? 4.0f : 0.5f));
      quantizer.decode(codes.row(i), decoded.data());
      for (std::size_t c = 0; c < kDim && i != 11; ++c)
        CHECK(std::abs(decoded[c] - rows.row(i)[c]) < (coarse ? 1.0f : 0.51f) * quantizer.step);
    }
  }
}

TEST_CASE("no codes where they cannot work") {
  const std::vector<float> zero(20 * 4, 0.0f);
  auto huge = values(20 * 4, 6);
  for (float& x : huge) x *= 1e30f;
  CHECK(train_scalar_quantizer({huge.data(), 20, 4}, Metric::kL2, Codec::kSq8, 1).empty());
  CHECK(train_scalar_quantizer({huge.data(), 0, 4}, Metric::kL2, Codec::kSq8, 1).empty());
  CHECK(train_scalar_quantizer({huge.data(), 20, 4}, Metric::kIp, Codec::kF32, 1).empty());
  auto tiny = values(20 * 4, 5);
  for (float& x : tiny) x *= 1e-30f;
  CHECK(train_scalar_quantizer({tiny.data(), 20, 4}, Metric::kL2, Codec::kSq8, 1).empty());
  const std::vector<float> wide(2 * 70000, 1.0f);
  CHECK(train_scalar_quantizer({wide.data(), 2, 70000}, Metric::kIp, Codec::kSq8, 1).empty());
  // Equal points are as near by their codes as by anything.
  const ScalarQuantizer equal = train_scalar_quantizer({zero.data(), 20, 4}, Metric::kL2, Codec::kSq8, 1);
  REQUIRE(!equal.empty());
  ScalarQuantizer::Scratch scratch(equal);
  std::vector<std::uint8_t> code(equal.stride());
  const float infinite[4] = {std::numeric_limits<float>::max(), -std::numeric_limits<float>::max(), 0, 1};
  equal.encode(infinite, scratch, code.data());
  const auto query = equal.encode_query(infinite, scratch);
  CHECK(std::isfinite(query.scale));
}

namespace {

/// Rows that vary along 56 of 192 directions, and `n_rare` of them along others, from another center.
std::vector<float> nearly_flat(std::size_t n_rows, std::size_t n_rare) {
  constexpr std::size_t kDim = 192, kDirections = 56;
  const auto directions = values(kDirections * kDim, 21), along = values(n_rows * kDirections, 22);
  const auto rare = values(n_rare * kDim, 23);
  auto rows = values(n_rows * kDim, 24);
  for (std::size_t i = 0; i < n_rows; ++i)
    for (std::size_t j = 0; j < kDim; ++j) {
      float& x = rows[i * kDim + j];
      if (i % (n_rows / std::max<std::size_t>(n_rare, 1)) == 1 && n_rare > 0) {
        x = 0.5f * rare[i / (n_rows / n_rare) * kDim + j] + static_cast<float>(j % 2);
        continue;
      }
      x *= 0.01f;
      for (std::size_t a = 0; a < kDirections; ++a)
        x += along[i * kDirections + a] * directions[a * kDim + j];
    }
  return rows;
}

}  // namespace

TEST_CASE("codes to build on are as narrow as neighborhoods allow, those of rare vectors too") {
  constexpr std::size_t kRows = 2048, kDim = 192;
  const auto flat = nearly_flat(kRows, 0);
  const ScalarQuantizer narrow = fit_narrow_quantizer({flat.data(), kRows, kDim}, 2);
  CHECK(narrow.stride() == kernels::kCodeLine);
  CHECK(narrow.columns.size() == kDim * narrow.padded_dim());
  const ScalarQuantizer again = fit_narrow_quantizer({flat.data(), kRows, kDim}, 1);
  CHECK(again.columns == narrow.columns);
  CHECK(again.step == narrow.step);

  // A few that vary in other directions: of them, a projection for the rest leaves little.
  const auto mixed = nearly_flat(kRows, 32);
  CHECK(fit_narrow_quantizer({mixed.data(), kRows, kDim}, 2).stride() == 2 * kernels::kCodeLine);
  const auto full = values(kRows * kDim, 25);
  CHECK(fit_narrow_quantizer({full.data(), kRows, kDim}, 2).empty());
  CHECK(fit_narrow_quantizer({full.data(), kRows, 64}, 2).empty());  // one line cannot be less
}
