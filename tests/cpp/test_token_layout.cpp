// The index arithmetic of token products and the bounds of their certificate, on the host.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "kernels/dispatch.hpp"
#include "maxsim_bound.hpp"
#include "token_layout.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

using namespace cuda;

template <std::size_t kBytes>
void check_rows() {
  using Rows = TokenRows<kBytes>;
  for (const unsigned steps : {1u, 2u, 4u, 8u}) {
    const unsigned depth = steps * kStepDepth, pitch = Rows::pitch(depth);
    const unsigned chunks = depth * static_cast<unsigned>(kBytes) / kChunkBytes;
    std::set<unsigned> places;
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned chunk = 0; chunk < chunks; ++chunk) {
        const unsigned at = Rows::offset(row, chunk, pitch);
        CHECK(at % kChunkBytes == 0);
        CHECK(at / pitch == row);
        CHECK(places.insert(at).second);
      }
    // Every coordinate of a row is in exactly one lane's share of one step, where the chunks were put.
    for (unsigned row = 0; row < 8; ++row) {
      std::set<unsigned> seen;
      for (unsigned step = 0; step < steps; ++step)
        for (unsigned t = 0; t < 4; ++t)
          for (unsigned v = 0; v < 8; ++v) {
            const unsigned coordinate = step_coordinate(step, v / 4, t, v % 4);
            const unsigned byte = coordinate * static_cast<unsigned>(kBytes);
            const unsigned expected = Rows::offset(row, byte / kChunkBytes, pitch) + byte % kChunkBytes;
            const unsigned in_lane = v * static_cast<unsigned>(kBytes);
            CHECK(Rows::lane_offset(row, step, t, in_lane / kChunkBytes, pitch) + in_lane % kChunkBytes ==
                  expected);
            CHECK(seen.insert(coordinate).second);
          }
      CHECK(seen.size() == depth);
      CHECK(*seen.rbegin() == depth - 1);
    }
    // Lanes that are served together read from different banks: eight for 16 bytes, sixteen for 8.
    constexpr unsigned kWidth = kBytes == 1 ? 8 : 16, kTogether = 128 / kWidth;
    for (unsigned part = 0; part < (kBytes == 4 ? 2u : 1u); ++part)
      for (unsigned first = 0; first < 32; first += kTogether) {
        std::set<unsigned> banks;
        for (unsigned lane = first; lane < first + kTogether; ++lane)
          banks.insert(Rows::lane_offset(lane / 4, steps - 1, lane % 4, part, pitch) % 128 / kWidth);
        CHECK(banks.size() == kTogether);
      }
  }
}

TEST_CASE(
    "token rows in shared memory: each coordinate in one place, where its lane looks, without conflicts") {
  check_rows<1>();
  check_rows<2>();
  check_rows<4>();
}

TEST_CASE("first operands have a place for every lane, product and step") {
  std::set<std::size_t> places;
  for (std::size_t tile = 0; tile < 3; ++tile)
    for (std::size_t step = 0; step < 5; ++step)
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t lane = 0; lane < 32; ++lane) places.insert(operand_index(tile, 5, step, half, lane));
  CHECK(places.size() == 3 * 5 * 2 * 32);
  CHECK(*places.rbegin() == places.size() - 1);
}

TEST_CASE("the parts of a stretch of tokens cover every token once, in whole tiles") {
  for (const std::size_t tile : {16u, 32u, 64u})
    for (const std::size_t parts : {1u, 2u, 7u, 264u})
      for (const std::size_t n : {0u, 1u, 15u, 16u, 17u, 1000u, 4097u}) {
        std::size_t next = 5;
        for (std::size_t part = 0; part < parts; ++part) {
          const TokenRange range = token_part(5, 5 + n, part, parts, tile);
          CHECK(range.first <= range.last);
          if (range.first == range.last) continue;
          CHECK(range.first == next);
          CHECK((range.first - 5) % tile == 0);
          next = range.last;
        }
        CHECK(next == 5 + n);
      }
}

TEST_CASE("the set of a token is never an empty one") {
  const std::vector<std::int64_t> offsets = {0, 0, 0, 3, 3, 4, 9, 9, 9};
  for (std::int64_t token = 0; token < 9; ++token) {
    const std::size_t set = set_of_token(offsets.data(), offsets.size() - 1, token);
    CHECK(offsets[set] <= token);
    CHECK(token < offsets[set + 1]);
  }
}

float cut(double x, int bits) {
  if (x == 0) return 0;
  int exponent = 0;
  const double significand = std::frexp(x, &exponent);
  return static_cast<float>(std::ldexp(std::trunc(std::ldexp(significand, bits)), exponent - bits));
}

/// The least a tensor core may do: terms and sum cut to 24 bits of the largest of them.
float unit_product(const std::vector<double>& a, const std::vector<double>& b, std::size_t depth) {
  float sum = 0;
  for (std::size_t k = 0; k < a.size(); k += depth) {
    double largest = std::abs(static_cast<double>(sum));
    for (std::size_t i = k; i < k + depth; ++i) largest = std::max(largest, std::abs(a[i] * b[i]));
    if (largest == 0) continue;
    const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
    double total = std::trunc(sum / unit) * unit;
    for (std::size_t i = k; i < k + depth; ++i) total += std::trunc(a[i] * b[i] / unit) * unit;
    sum = cut(total, 24);
  }
  return sum;
}

TEST_CASE("the bound of a product holds for units that cut off, whatever the values") {
  std::uint64_t index = 0;
  const auto uniform = [&] {
    return static_cast<double>(
               static_cast<std::int32_t>(random_bits(7, RandomPurpose::kInsertionOrder, index++) >> 32)) *
           0x1p-31;
  };
  for (const std::size_t dim : {32u, 128u, 768u})
    for (int kind = 0; kind < 6; ++kind)
      for (int trial = 0; trial < 200; ++trial) {
        std::vector<double> q(dim), p(dim);
        std::vector<float> query(dim), doc(dim);
        for (std::size_t i = 0; i < dim; ++i) {
          // Halves: whole numbers below 2^11 times powers of two. Kinds: plain, all of one sign, large terms
          // that cancel in pairs, one large coordinate, exponents far apart, ones that all cut at the end.
          const double x = std::trunc(uniform() * 2047), y = std::trunc(uniform() * 2047);
          q[i] = kind == 1 || kind == 5 ? std::abs(x) + (kind == 5 ? 1 : 0) : x;
          p[i] = kind == 1 || kind == 5 ? std::abs(y) : y;
          if (kind == 2 && i % 2 == 1) {
            q[i] = q[i - 1];
            p[i] = -p[i - 1] + std::trunc(uniform() * 2);
          }
          if (kind == 3 && i != 17) q[i] = std::trunc(q[i] / 512);
          if (kind == 4) p[i] = std::ldexp(p[i], static_cast<int>(uniform() * 4) - 4);
          q[i] = std::ldexp(q[i], 3);
          p[i] = std::ldexp(p[i], -12);
          query[i] = static_cast<float>(q[i]);
          doc[i] = static_cast<float>(p[i]);
        }
        double q_squares = 0, p_squares = 0;
        for (std::size_t i = 0; i < dim; ++i) q_squares += q[i] * q[i], p_squares += p[i] * p[i];
        const ProductBound bound = product_bound(dim, dim / 16, false, std::sqrt(q_squares), 1.0,
                                                 std::sqrt(static_cast<double>(dim)));
        const float length = length_bound(unit_product(p, p, 16), false, 0);
        CHECK(static_cast<double>(length) >= std::sqrt(p_squares));
        const float canonical = -kernels::active_table().ip.canonical(query.data(), doc.data(), dim);
        for (const std::size_t depth : {4u, 8u, 16u}) {
          const float fast = unit_product(q, p, depth);
          CHECK(std::abs(static_cast<double>(fast) - static_cast<double>(canonical)) <=
                bound.slack * std::sqrt(p_squares) + bound.floor);
        }
      }
}

}  // namespace
}  // namespace whimbrel
