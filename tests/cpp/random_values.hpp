// Numbers for tests: uniform in [-1, 1), the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "whimbrel/random.hpp"

inline std::vector<float> values(std::size_t n, std::uint64_t seed) {
  using namespace whimbrel;
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] =
        static_cast<float>(random_bits(seed, RandomPurpose::kInsertionOrder, i) >> 40) / 8388608.0f - 1.0f;
  return out;
}
