// float32 to IEEE half precision, rounded to nearest even, in integers so that the result is the same
// everywhere and loops over it vectorize.
#pragma once

#include <bit>
#include <cstdint>

namespace whimbrel {

/// Beyond the largest half (65504, from 65520 on) infinite; NaN stays NaN.
inline std::uint16_t to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // Normal halves: drop 13 bits of the significand, rounded; a carry may run into the exponent, as it should.
  const std::uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  // Below 2^-14: the unit of the last place of floats around 0.5 is that of subnormal halves, 2^-24, so the
  // addition rounds.
  const std::uint32_t small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
                              std::bit_cast<std::uint32_t>(0.5f);
  std::uint32_t half = magnitude < 0x38800000u ? small : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  return static_cast<std::uint16_t>(half | (bits >> 31 << 15));
}

}  // namespace whimbrel
