// Random choice without a generator: each item gets a key, and the items of the largest keys are chosen.
#pragma once

#include <cmath>
#include <cstdint>

#include "whimbrel/random.hpp"

namespace whimbrel {

/// Uniform in (0, 1), never an end.
inline double uniform(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index) noexcept {
  return (static_cast<double>(random_bits(seed, purpose, index) >> 12) + 0.5) * 0x1p-52;
}

/// A draw of the Gumbel distribution. The items of the s largest log(w) + gumbel are a sample of s without
/// replacement with probabilities proportional to w.
inline double gumbel(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index) noexcept {
  return -std::log(-std::log(uniform(seed, purpose, index)));
}

}  // namespace whimbrel
