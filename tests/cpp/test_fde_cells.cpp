// Cells as bit masks of tokens, on the host: the index maps of the encoder's products, and who lends a token
// to an empty cell, against the census of the CPU.
#include "fde_cells.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "fde/cells.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

using namespace cuda;

TEST_CASE("bits of tokens: each its own, and the first of a word") {
  std::set<unsigned> bits;
  for (unsigned token = 0; token < kWordTokens; ++token) {
    CHECK(bit_token(token_bit(token)) == token);
    CHECK(token_bit(token) < 32);
    CHECK(bits.insert(token_bit(token)).second);
  }
  for (unsigned n = 0; n <= 40; ++n)
    for (unsigned token = 0; token < kWordTokens; ++token)
      CHECK((first_bits(n) >> token_bit(token) & 1) == (token < n ? 1 : 0));
  for (unsigned i = 1; i < 2000; ++i) {
    const auto word =
        static_cast<std::uint32_t>(random_bits(3, RandomPurpose::kHnswLevel, i) >> (i % 32)) | 1u << i % 32;
    unsigned expected = 0;
    while ((word >> token_bit(expected) & 1) == 0) ++expected;
    CHECK(first_token(word) == expected);
  }
}

TEST_CASE("members of a cell as halves: tokens in the order of a product's operand") {
  for (unsigned token = 0; token < kWordTokens; ++token)
    for (unsigned t = 0; t < 4; ++t)
      for (unsigned sub = 0; sub < 4; ++sub) {
        const std::uint32_t pair = member_pair(turn_for_lane(1u << token_bit(token), t), sub);
        const unsigned first = 8 * sub + 2 * t;
        CHECK(pair == (token == first ? 0x0400u : token == first + 1 ? 0x04000000u : 0u));
      }
}

TEST_CASE("the token that an empty cell gets is that of the CPU") {
  for (unsigned k_sim = 1; k_sim <= 5; ++k_sim)
    for (unsigned trial = 0; trial < 300; ++trial) {
      const unsigned n_cells = 1u << k_sim, n = 1 + trial % 40;
      std::vector<std::uint32_t> cells(n);
      for (unsigned i = 0; i < n; ++i)
        cells[i] = static_cast<std::uint32_t>(random_bits(trial, RandomPurpose::kInsertionOrder, i)) %
                   (trial % 3 == 0 ? n_cells : (n_cells + 3) / 4);
      CellCensus census(k_sim);
      census.take(cells);
      census.fill();

      std::vector<std::uint32_t> keys(n_cells, kNoTokenKey);
      for (unsigned i = n; i-- > 0;) keys[cells[i]] = i;
      for (unsigned bit = 0; bit < k_sim; ++bit) {
        const std::vector<std::uint32_t> before = keys;
        for (unsigned cell = 0; cell < n_cells; ++cell)
          keys[cell] = nearer_key(before[cell], before[cell ^ 1u << bit]);
      }
      for (const std::uint32_t cell : census.empty()) {
        CAPTURE(k_sim);
        CAPTURE(trial);
        CHECK(key_token(keys[cell]) == census.nearest(cell));
      }
    }
}

}  // namespace
}  // namespace whimbrel
