// How the codes of a vector lie in the bytes of a row, and the values that they are multiplied with beside
// it. What codes stand for is not its business.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.hpp"

namespace whimbrel {

/// Codes of 8 bits are bytes, one after another. Of 4 bits, 128 coordinates share a line of 64 bytes, the
/// first half of them in the low bits of its bytes and the second in the high bits, so that one load serves
/// two products. The last line holds what is left, halved in the same way: its bytes stay together, and leave
/// room for a tail. Values stand in the order in which a kernel meets their codes: for each line of 4-bit
/// codes a line for the low bits, then one for the high bits. What no code belongs to has the value 0.
struct CodeLayout {
  std::size_t dim = 0;
  std::uint32_t bits = 8;

  bool nibbles() const noexcept { return bits == 4; }
  std::size_t bytes() const noexcept { return nibbles() ? (dim + 1) / 2 : dim; }
  /// Bytes of the values beside a row of so many.
  std::size_t value_bytes(std::size_t row_bytes) const noexcept {
    return nibbles() ? 2 * row_bytes : row_bytes;
  }
  /// The largest code, and the one that counts as zero where codes are compared with each other.
  std::uint32_t highest() const noexcept { return nibbles() ? 15 : 255; }
  std::int32_t zero() const noexcept { return nibbles() ? 8 : 128; }

  std::uint8_t at(const std::uint8_t* row, std::size_t c) const noexcept {
    if (!nibbles()) return row[c];
    const Place place = place_of(c);
    return place.high ? row[place.byte] >> 4 : row[place.byte] & 15;
  }
  /// Into a row of zeros.
  void put(std::uint8_t* row, std::size_t c, std::uint8_t code) const noexcept {
    if (!nibbles()) {
      row[c] = code;
      return;
    }
    const Place place = place_of(c);
    row[place.byte] |= static_cast<std::uint8_t>(place.high ? code << 4 : code);
  }
  /// Where the value for coordinate c stands.
  std::size_t value_of(std::size_t c) const noexcept {
    if (!nibbles()) return c;
    const Place place = place_of(c);
    return place.byte + (place.byte / kernels::kCodeLine + place.high) * kernels::kCodeLine;
  }
  /// The codes of a row, less zero(), as values; those that no code belongs to are left as they are.
  void signed_values(const std::uint8_t* row, std::int8_t* values) const noexcept {
    if (!nibbles()) {
      for (std::size_t c = 0, n = dim; c < n; ++c) values[c] = static_cast<std::int8_t>(row[c] ^ 0x80u);
      return;
    }
    for (std::size_t begin = 0; begin < dim; begin += kPerLine) {
      const std::size_t size = std::min(kPerLine, dim - begin), low = (size + 1) / 2, high = size / 2;
      for (std::size_t b = 0; b < low; ++b) values[b] = static_cast<std::int8_t>((row[b] & 15) - 8);
      for (std::size_t b = 0; b < high; ++b)
        values[kernels::kCodeLine + b] = static_cast<std::int8_t>((row[b] >> 4) - 8);
      row += kernels::kCodeLine;
      values += kPerLine;
    }
  }

 private:
  static constexpr std::size_t kPerLine = 2 * kernels::kCodeLine;
  struct Place {
    std::size_t byte;
    bool high;
  };
  Place place_of(std::size_t c) const noexcept {
    const std::size_t line = c / kPerLine, i = c % kPerLine;
    const std::size_t half = (std::min(kPerLine, dim - line * kPerLine) + 1) / 2;
    return {line * kernels::kCodeLine + (i < half ? i : i - half), i >= half};
  }
};

}  // namespace whimbrel
