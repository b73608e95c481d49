#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/half.hpp"

using namespace whimbrel;

namespace {

/// The value of a finite half, exactly.
float value_of(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                        : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("every half is its own rounding, and what lies between goes to the nearest, ties to even") {
  for (std::uint32_t h = 0; h < 0x7bff; ++h) {
    const auto low = static_cast<std::uint16_t>(h), high = static_cast<std::uint16_t>(h + 1);
    const float a = value_of(low), b = value_of(high), middle = a + (b - a) / 2;
    REQUIRE(to_half(a) == low);
    REQUIRE(to_half(-a) == (low | 0x8000));
    REQUIRE(to_half(middle) == (h % 2 == 0 ? low : high));
    REQUIRE(to_half(std::nextafter(middle, a)) == low);
    REQUIRE(to_half(std::nextafter(middle, b)) == high);
    REQUIRE(to_half(-std::nextafter(middle, b)) == (high | 0x8000));
  }
}

TEST_CASE("what is beyond the halves becomes infinite, and NaN stays NaN") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  CHECK(to_half(65504.0f) == 0x7bff);
  CHECK(to_half(std::nextafter(65520.0f, 0.0f)) == 0x7bff);
  CHECK(to_half(65520.0f) == 0x7c00);
  CHECK(to_half(-1e38f) == 0xfc00);
  CHECK(to_half(kInf) == 0x7c00);
  CHECK((to_half(std::nanf("")) & 0x7fff) > 0x7c00);
  CHECK(to_half(std::numeric_limits<float>::denorm_min()) == 0);
}
