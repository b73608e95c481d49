// The tokens of cells as bit masks: where a token's bit stands, and which cells lend a token to empty ones.
// Plain functions, so that they are tested on the host (tests/cpp/test_fde_cells.cpp).
//
// A word stands for 32 tokens. Tokens 2 j and 2 j + 1 have the bits j and j + 16, because so one shift and
// one mask make a pair of halves of two tokens that follow each other: 2^-14 where a bit is set, else zero.
#pragma once

#include <cstdint>

#include "host_device.hpp"

namespace whimbrel::cuda {

inline constexpr unsigned kWordTokens = 32;
inline constexpr std::uint32_t kMemberBits = 0x04000400u;  // two halves of 2^-14
inline constexpr float kMemberScale = 0x1p14f;

inline constexpr std::uint32_t kPairBits = 0x00ff00ffu;  // of the tokens 0 to 15

WHIMBREL_HOST_DEVICE constexpr unsigned token_bit(unsigned token) { return token / 2 + token % 2 * 16; }
WHIMBREL_HOST_DEVICE constexpr unsigned bit_token(unsigned bit) { return bit % 16 * 2 + bit / 16; }

/// The bits of the first n tokens; all from 32 on.
WHIMBREL_HOST_DEVICE constexpr std::uint32_t first_bits(unsigned n) {
  const unsigned even = n < kWordTokens ? (n + 1) / 2 : 16, odd = n < kWordTokens ? n / 2 : 16;
  return ((1u << even) - 1) | ((1u << odd) - 1) << 16;
}

/// The word turned so that member_pair finds the bits of lane t of a group of four at fixed places.
WHIMBREL_HOST_DEVICE constexpr std::uint32_t turn_for_lane(std::uint32_t word, unsigned t) {
  const unsigned by = 10 - t;
  return word << by | word >> (32 - by);
}
/// Membership of the tokens 8 sub + 2 t and the next, as two halves in token order.
WHIMBREL_HOST_DEVICE constexpr std::uint32_t member_pair(std::uint32_t turned, unsigned sub) {
  const unsigned by = 4 * sub;
  return (by == 0 ? turned : turned >> by | turned << (32 - by)) & kMemberBits;
}

/// Gray decoding, as in cpp/src/fde/cells.hpp.
WHIMBREL_HOST_DEVICE constexpr std::uint32_t gray_number(std::uint32_t bits) {
  for (unsigned shift = 1; shift < 32; shift *= 2) bits ^= bits >> shift;
  return bits;
}

/// The first token of a word that is not zero.
WHIMBREL_HOST_DEVICE inline unsigned first_token(std::uint32_t word) {
  const std::uint32_t even = word & 0xffffu, odd = word >> 16;
#ifdef __CUDA_ARCH__
  const unsigned first_even = 2 * static_cast<unsigned>(__ffs(static_cast<int>(even | 0x10000u)) - 1);
  const unsigned first_odd = 2 * static_cast<unsigned>(__ffs(static_cast<int>(odd | 0x10000u)) - 1) + 1;
#else
  const unsigned first_even = 2 * static_cast<unsigned>(__builtin_ctz(even | 0x10000u));
  const unsigned first_odd = 2 * static_cast<unsigned>(__builtin_ctz(odd | 0x10000u)) + 1;
#endif
  return first_even < first_odd ? first_even : first_odd;
}

/// For an empty cell, the nearest token is that of the smallest key: the number of bits in which its cell
/// differs, then its own number. Keys of the cells that differ in one bit are compared for one bit after the
/// other, which is exact because the distance is a sum over bits.
inline constexpr unsigned kTokenBits = 28;
inline constexpr std::uint32_t kOneBitFurther = std::uint32_t{1} << kTokenBits;
inline constexpr std::uint32_t kNoTokenKey = kOneBitFurther * 8;
WHIMBREL_HOST_DEVICE constexpr std::uint32_t nearer_key(std::uint32_t key, std::uint32_t neighbor) {
  return neighbor + kOneBitFurther < key ? neighbor + kOneBitFurther : key;
}
WHIMBREL_HOST_DEVICE constexpr std::uint32_t key_token(std::uint32_t key) {
  return key & (kOneBitFurther - 1);
}

}  // namespace whimbrel::cuda
