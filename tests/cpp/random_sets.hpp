// Sets of random vectors, for tests of what takes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "whimbrel/ragged_view.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {

struct RandomSets {
  /// `lengths` are those of the sets; coordinates are in [-1, 1).
  RandomSets(const std::vector<std::size_t>& lengths, std::size_t dim_, std::uint64_t seed) : dim(dim_) {
    std::uint64_t index = 0;
    for (const std::size_t length : lengths) {
      for (std::size_t i = 0; i < length * dim; ++i)
        tokens.push_back(
            static_cast<float>(random_bits(seed, RandomPurpose::kInsertionOrder, index++) >> 40) /
                8388608.0f -
            1.0f);
      offsets.push_back(offsets.back() + static_cast<std::int64_t>(length));
    }
  }

  RaggedView view() const { return {{tokens.data(), tokens.size() / dim, dim}, offsets}; }

  std::size_t dim;
  std::vector<float> tokens;
  std::vector<std::int64_t> offsets{0};
};

}  // namespace whimbrel
