// IEEE 754 half precision as storage: rounding to it, and what it can hold. Widening is a kernel.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/kernel_table.hpp"

namespace whimbrel {

using kernels::Half;

inline constexpr float kMaxHalf = 65504.0f;

/// The nearest half, ties to even; magnitudes from 65520 on, infinity and NaN become infinity (or NaN).
constexpr Half to_half(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude >= 0x47800000u) {  // 2^16 and up
    half = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below the smallest normal half, 2^-14
    // Adding 1/2 puts units of 2^-24, the smallest half, into the last bits of the fraction, rounded.
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    // Round at bit 13 to even, then move the bias of the exponent from 127 to 15.
    half = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

/// The value of a half, exactly.
constexpr float to_float(Half h) noexcept {
  const std::uint32_t sign = (h.bits & 0x8000u) << 16, magnitude = h.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(scaled));
}

}  // namespace whimbrel
