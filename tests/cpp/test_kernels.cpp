// Every instruction set this machine has, against plain double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/bfloat16.hpp"
#include "base/half.hpp"
#include "base/memory.hpp"
#include "base/query_panels.hpp"
#include "kernels/dispatch.hpp"
#include "random_values.hpp"
#include "whimbrel/cpu_isa.hpp"

using namespace whimbrel;

namespace {

std::vector<std::size_t> dims() {
  std::vector<std::size_t> d(300);
  std::iota(d.begin(), d.end(), std::size_t{1});
  d.insert(d.end(), {384, 768, 960, 1024, 1536});
  return d;
}

struct Reference {
  double l2 = 0, ip = 0, magnitude = 0;  // magnitude: sum of |a b|
};

Reference reference(const float* a, const float* b, std::size_t d) {
  Reference r;
  for (std::size_t i = 0; i < d; ++i) {
    const double x = a[i], y = b[i];
    r.l2 += (x - y) * (x - y);
    r.ip -= x * y;
    r.magnitude += std::abs(x * y);
  }
  return r;
}

/// The bound of the kernels' file header.
double tolerance(std::size_t d, double magnitude) { return static_cast<double>(d + 4) * 0x1p-24 * magnitude; }

}  // namespace

TEST_CASE("every form of every kernel agrees with double precision") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    CAPTURE(table->isa);
    for (const std::size_t d : dims()) {
      const auto a = values(d, 1), b = values(d, 2);
      const Reference r = reference(a.data(), b.data(), d);
      CAPTURE(d);
      CHECK(std::abs(table->l2.canonical(a.data(), b.data(), d) - r.l2) <= tolerance(d, r.l2));
      CHECK(std::abs(table->l2.fast(a.data(), b.data(), d) - r.l2) <= tolerance(d, r.l2));
      CHECK(std::abs(table->ip.canonical(a.data(), b.data(), d) - r.ip) <= tolerance(d, r.magnitude));
      CHECK(std::abs(table->ip.fast(a.data(), b.data(), d) - r.ip) <= tolerance(d, r.magnitude));
    }
  }
}

TEST_CASE("canonical distances have the same bits on every instruction set, padded or not") {
  const auto tables = kernels::available_tables();
  for (const std::size_t d : dims()) {
    auto a = values(d, 3), b = values(d, 4);
    const float l2 = tables[0]->l2.canonical(a.data(), b.data(), d),
                ip = tables[0]->ip.canonical(a.data(), b.data(), d);
    a.resize(d + 48);
    b.resize(d + 48);
    for (const kernels::KernelTable* table : tables) {
      CAPTURE(table->isa);
      CAPTURE(d);
      CHECK(table->l2.canonical(a.data(), b.data(), d) == l2);
      CHECK(table->ip.canonical(a.data(), b.data(), d) == ip);
      CHECK(table->l2.canonical(a.data(), b.data(), d + 48) == l2);
      CHECK(table->ip.canonical(a.data(), b.data(), d + 48) == ip);
    }
  }
}

TEST_CASE("a row has the same distance wherever it stands in a list of ids") {
  constexpr std::size_t kRows = 23, kPerBlock = 8;
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t d : {1, 7, 16, 33, 100, 384}) {
      const auto data = values(3 * kPerBlock * d, 5), query = values(d, 6);
      const float* blocks[] = {data.data(), data.data() + kPerBlock * d, data.data() + 2 * kPerBlock * d};
      const kernels::RowBlocks<float> rows{blocks, 3, kPerBlock - 1, d};
      for (std::size_t n = 0; n <= kRows; ++n) {
        std::vector<std::uint32_t> ids(n);
        for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<std::uint32_t>((i * 5 + n) % kRows);
        std::vector<float> out(n + 1, -77.0f);
        table->l2.fast_ids(query.data(), d, rows, ids.data(), n, out.data());
        for (std::size_t i = 0; i < n; ++i)
          CHECK(out[i] == table->l2.fast(query.data(), data.data() + ids[i] * d, d));
        CHECK(out[n] == -77.0f);
      }
    }
}

TEST_CASE("l2 below a bound finds exactly the distances below it, in order") {
  constexpr std::size_t kRows = 150;
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t d : {130, 256, 784}) {
      const auto data = values(kRows * d, 11), query = values(d, 12);
      const float* blocks[] = {data.data()};
      const kernels::RowBlocks<float> rows{blocks, 8, 255, d};
      for (const std::size_t stage : {16, 48, 192, 4096})
        for (const float share : {0.0f, 0.9f, 1.0f, 1.1f, 9.0f}) {
          const float bound =
              share * static_cast<float>(d) * 2.0f / 3.0f;  // 2/3: the mean squared difference
          std::vector<std::uint32_t> ids(kRows), expected;
          std::iota(ids.begin(), ids.end(), 0u);
          std::vector<float> out(kRows);
          ids.resize(table->l2_ids_below(query.data(), d, stage, rows, ids.data(), kRows, bound, out.data()));
          for (std::size_t i = 0; i < kRows; ++i) {
            const Reference r = reference(data.data() + i * d, query.data(), d);
            if (std::abs(r.l2 - bound) > tolerance(d, r.l2)) {
              const bool found = std::find(ids.begin(), ids.end(), i) != ids.end();
              CHECK(found == (r.l2 < bound));
            }
          }
          CHECK(std::is_sorted(ids.begin(), ids.end()));
          for (std::size_t i = 0; i < ids.size(); ++i) {
            const Reference r = reference(data.data() + ids[i] * d, query.data(), d);
            CHECK(std::abs(out[i] - r.l2) <= tolerance(d, r.l2));
          }
        }
    }
}

TEST_CASE("float16 rows are their widened values") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t d : {1, 7, 16, 33, 100, 384}) {
      constexpr std::size_t kRows = 13;
      const auto data = values(kRows * d, 9), query = values(d, 10);
      std::vector<kernels::Half> half(data.size());
      std::vector<float> widened(data.size());
      for (std::size_t i = 0; i < data.size(); ++i) {
        half[i] = {to_half(data[i])};
        table->widen_f16(&half[i].bits, 1, &widened[i]);
      }
      const kernels::Half* blocks[] = {half.data()};
      const kernels::RowBlocks<kernels::Half> rows{blocks, 4, 15, d};
      std::vector<std::uint32_t> ids(kRows);
      std::iota(ids.begin(), ids.end(), 0u);
      std::vector<float> l2(kRows), ip(kRows);
      table->l2.fast_ids_f16(query.data(), d, rows, ids.data(), kRows, l2.data());
      table->ip.fast_ids_f16(query.data(), d, rows, ids.data(), kRows, ip.data());
      for (std::size_t i = 0; i < kRows; ++i) {
        CHECK(l2[i] == table->l2.fast(query.data(), widened.data() + i * d, d));
        CHECK(ip[i] == table->ip.fast(query.data(), widened.data() + i * d, d));
      }
    }
}

TEST_CASE("tiles are inner products, and selection finds the scores below the bounds") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t d : {1, 17, 256, 300, 784}) {
      const std::size_t rows = table->tile_rows, cols = table->tile_cols;
      const auto data = values(rows * d, 7), queries = values(cols * d, 8);
      QueryPanels panels(*table, cols, d);
      panels.fill(cols, [&](std::size_t i) { return queries.data() + i * d; });
      std::vector<float> out(rows * cols), scores(cols), bounds(cols, 0.0f);
      for (std::size_t k = 0; k < d; k += kernels::kTileDepth)
        table->tile(data.data() + k, d, panels.panel(0) + k * cols, std::min(kernels::kTileDepth, d - k),
                    k > 0, out.data());
      for (std::size_t r = 0; r < rows; ++r) {
        const std::uint64_t mask =
            table->select(out.data() + r * cols, cols, 0.25f, 2.0f, bounds.data(), scores.data());
        for (std::size_t c = 0; c < cols; ++c) {
          const Reference ref = reference(data.data() + r * d, queries.data() + c * d, d);
          CHECK(std::abs(out[r * cols + c] + ref.ip) <= tolerance(d, ref.magnitude));
          if (mask != 0) CHECK(scores[c] == 0.25f - 2.0f * out[r * cols + c]);
          CHECK((mask >> c & 1) == (0.25f - 2.0f * out[r * cols + c] < 0.0f));
        }
      }
    }
}

TEST_CASE("narrow tiles have the bits of the full one") {
  const std::size_t d = 70;
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    CAPTURE(table->isa);
    const auto rows = values(table->tile_rows * d, 21), queries = values(table->tile_cols * d, 22);
    const auto products = [&](std::size_t cols, kernels::TileKernel tile) {
      std::vector<float> panel(cols * d), out(table->tile_rows * cols);
      for (std::size_t c = 0; c < cols; ++c)
        for (std::size_t k = 0; k < d; ++k) panel[k * cols + c] = queries[c * d + k];
      tile(rows.data(), d, panel.data(), d, false, out.data());
      return out;
    };
    const auto full = products(table->tile_cols, table->tile);
    for (std::size_t v = 1; v * table->width <= table->tile_cols; ++v) {
      const std::size_t cols = v * table->width;
      const auto narrow = products(cols, table->tiles[v - 1]);
      for (std::size_t r = 0; r < table->tile_rows; ++r)
        for (std::size_t c = 0; c < cols; ++c) CHECK(narrow[r * cols + c] == full[r * table->tile_cols + c]);
    }
  }
}

TEST_CASE("the best row of each column is the first of the largest, and the second is known") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    CAPTURE(table->isa);
    const std::size_t cols = table->tile_cols;
    for (const std::size_t rows : {1u, 2u, 5u, 64u}) {
      auto products = values(rows * cols, rows);
      for (std::size_t r = 0; r < rows; ++r) products[r * cols] = r % 3 == 1 ? 2.0f : -1.0f;  // a tie
      std::vector<float> best(cols), second(cols);
      std::vector<std::uint32_t> row(cols);
      table->best_rows(products.data(), rows, cols, best.data(), second.data(), row.data());
      for (std::size_t c = 0; c < cols; ++c) {
        std::size_t expected = 0;
        for (std::size_t r = 1; r < rows; ++r)
          if (products[r * cols + c] > products[expected * cols + c]) expected = r;
        float other = -std::numeric_limits<float>::infinity();
        for (std::size_t r = 0; r < rows; ++r)
          if (r != expected) other = std::max(other, products[r * cols + c]);
        CHECK(row[c] == expected);
        CHECK(best[c] == products[expected * cols + c]);
        CHECK(second[c] == other);
      }
    }
  }
}

TEST_CASE("the bound of norms is above every norm, and not far above the largest") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    CAPTURE(table->isa);
    for (const std::size_t d : {1u, 7u, 16u, 33u, 128u, 385u}) {
      CAPTURE(d);
      auto rows = values(9 * d, 31);
      const double bound = table->norm_bound(rows.data(), 9, d, d);
      double largest = 0;
      for (std::size_t r = 0; r < 9; ++r)
        largest = std::max(largest, reference(&rows[r * d], &rows[r * d], d).magnitude);
      CHECK(bound >= largest * (1 - 1e-5));
      CHECK(bound <= 9 * largest);
      for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf(""), 1e30f}) {
        rows[4 * d + d / 2] = bad;
        CHECK(std::isnan(table->norm_bound(rows.data(), 9, d, d)));
      }
    }
  }
}

TEST_CASE("codes of tokens widen to the same bits everywhere") {
  std::vector<std::uint16_t> halves;
  for (std::uint32_t code = 0; code < 0x10000; ++code)
    if ((code & 0x7c00) != 0x7c00) halves.push_back(static_cast<std::uint16_t>(code));
  std::vector<std::int8_t> bytes;
  for (int code = -127; code <= 127; ++code) bytes.push_back(static_cast<std::int8_t>(code));
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    CAPTURE(table->isa);
    std::vector<float> out(halves.size());
    table->widen_f16(halves.data(), halves.size(), out.data());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const int exponent = halves[i] >> 10 & 31, mantissa = halves[i] & 1023;
      const double magnitude =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      const auto expected = static_cast<float>(halves[i] & 0x8000 ? -magnitude : magnitude);
      wrong += std::bit_cast<std::uint32_t>(out[i]) != std::bit_cast<std::uint32_t>(expected);
    }
    CHECK(wrong == 0);
    out.resize(bytes.size());
    table->widen_i8(bytes.data(), 0.37f, bytes.size(), out.data());
    for (std::size_t i = 0; i < bytes.size(); ++i) CHECK(out[i] == static_cast<float>(bytes[i]) * 0.37f);
  }
}

TEST_CASE("a matrix unit multiplies rounded values, and says what rounding took") {
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    const kernels::MatrixUnit& unit = table->matrix;
    if (unit.rows == 0) continue;
    for (const std::size_t d : {1, 2, 15, 31, 32, 33, 300, 784}) {
      CAPTURE(d);
      const std::size_t depth = round_up(d, unit.depth);
      const auto data = values(unit.rows * d, 13), queries = values(unit.cols * d, 14);
      std::vector<kernels::Bf16> rows(unit.rows * depth, 0xffff), columns(unit.cols * depth, 0xffff),
          panel(unit.cols * depth);
      const auto round = [&](const std::vector<float>& from, std::size_t i, std::vector<kernels::Bf16>& to) {
        const float lost = unit.round(from.data() + i * d, d, to.data() + i * depth);
        double expected = 0;
        for (std::size_t k = 0; k < depth; ++k) {
          CHECK(to[i * depth + k] == (k < d ? to_bf16(from[i * d + k]) : 0));
          if (k < d) expected += std::pow(from[i * d + k] - from_bf16(to[i * depth + k]), 2);
        }
        CHECK(lost == doctest::Approx(expected).epsilon(1e-4));
      };
      for (std::size_t r = 0; r < unit.rows; ++r) round(data, r, rows);
      for (std::size_t c = 0; c < unit.cols; ++c) {
        round(queries, c, columns);
        for (std::size_t k = 0; k < depth; ++k)
          panel[kernels::matrix_unit_offset(unit, c, k)] = columns[c * depth + k];
      }
      std::vector<float> out(unit.rows * unit.cols, -77.0f);
      unit.claim();
      unit.tile(rows.data(), depth, panel.data(), depth, out.data());
      unit.release();
      for (std::size_t r = 0; r < unit.rows; ++r)
        for (std::size_t c = 0; c < unit.cols; ++c) {
          std::vector<float> x(d), q(d);
          for (std::size_t k = 0; k < d; ++k) {
            x[k] = from_bf16(rows[r * depth + k]);
            q[k] = from_bf16(columns[c * depth + k]);
          }
          const Reference ref = reference(x.data(), q.data(), d);
          CHECK(std::abs(out[r * unit.cols + c] + ref.ip) <= tolerance(d, ref.magnitude));
        }
    }
  }
}

// clang-cl does not link what the compiler's check needs.
#if defined(__x86_64__) && !defined(_MSC_VER)
TEST_CASE("the dispatcher finds what the compiler's own check finds") {
  std::vector<std::string> expected{"baseline"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) expected.emplace_back("avx2");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni"))
    expected.emplace_back("avx512");
  auto found = available_isas();
  if (found.back() == "amx") found.pop_back();  // which asks the system too
  CHECK(found == expected);
}
#endif
