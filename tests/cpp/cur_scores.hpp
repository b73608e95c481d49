// Anchor scores for tests of the l2-greedy choice: of low rank with some noise, and items that are twins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "whimbrel/cur.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel::testing {

inline CurIndex make_cur_index(std::size_t n_queries, std::size_t n_items, CurStorage storage) {
  std::uint64_t index = 0;
  const auto uniform = [&] {
    const std::uint64_t bits = random_bits(7, RandomPurpose::kInsertionOrder, index++);
    return static_cast<float>(static_cast<std::int32_t>(bits >> 32)) * 0x1p-31f;
  };
  constexpr std::size_t kRank = 6;
  std::vector<float> left(n_queries * kRank), right(kRank * n_items), scores(n_queries * n_items);
  for (float& x : left) x = uniform();
  for (float& x : right) x = uniform();
  for (std::size_t q = 0; q < n_queries; ++q)
    for (std::size_t i = 0; i < n_items; ++i) {
      float& score = scores[q * n_items + i];
      score = 0.1f * uniform();
      for (std::size_t j = 0; j < kRank; ++j) score += left[q * kRank + j] * right[j * n_items + i];
      if (i % 5 == 4) score = scores[q * n_items + i - 1];
    }
  CurParams params;
  params.storage = storage;
  return CurIndex::fit({scores.data(), n_queries, n_items}, params);
}

}  // namespace whimbrel::testing
