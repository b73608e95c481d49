// bfloat16: the upper half of a float, 8 significant bits.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/kernel_table.hpp"

namespace whimbrel {

/// The nearest, ties to even; finite stays finite.
inline kernels::Bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return static_cast<kernels::Bf16>((rounded & 0x7f80u) == 0x7f80u ? bits >> 16 : rounded);
}

inline float from_bf16(kernels::Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

}  // namespace whimbrel
