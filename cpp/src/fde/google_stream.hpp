// The random numbers of the reference encoder (google/graph-mining) as built with libstdc++ of GCC 11 or
// later: mt19937, which the standard fixes, under distributions that it does not, written out here. Another
// standard library draws other numbers from the same words.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "fde/natural_log.hpp"

namespace whimbrel {

class GoogleStream {
 public:
  explicit GoogleStream(std::uint32_t seed) : words_(seed) {}

  /// Uniform in 0..n-1: Lemire, "Fast random integer generation in an interval", 2019.
  std::uint32_t below(std::uint32_t n) {
    std::uint64_t product = std::uint64_t{word()} * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t threshold = -n % n;
      while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{word()} * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// A coin of probability 1/2: two words as a double in [0, 1), the second the upper half; heads is +1.
  bool negative() {
    const double low = word();
    return (low + static_cast<double>(word()) * 0x1p32) * 0x1p-64 >= 0.5;
  }

  /// Marsaglia's polar method in float: of each pair the second coordinate comes first.
  float normal() {
    if (has_saved_) {
      has_saved_ = false;
      return saved_;
    }
    float x, y, squared;
    do {
      x = 2 * uniform() - 1;
      y = 2 * uniform() - 1;
      squared = x * x + y * y;
    } while (squared > 1 || squared == 0);
    // A float's logarithm, rounded once; the C library's may be a unit in the last place off.
    const float scale = std::sqrt(-2 * static_cast<float>(natural_log(squared)) / squared);
    saved_ = x * scale;
    has_saved_ = true;
    return y * scale;
  }

 private:
  std::uint32_t word() { return static_cast<std::uint32_t>(words_()); }

  /// One word as a float in [0, 1).
  float uniform() {
    const float value = static_cast<float>(word()) * 0x1p-32f;
    return value < 1 ? value : 1 - 0x1p-24f;
  }

  std::mt19937 words_;
  float saved_ = 0;
  bool has_saved_ = false;
};

}  // namespace whimbrel
