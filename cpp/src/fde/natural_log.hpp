// The natural logarithm, the same bits on every platform: the C library's differs between them, and random
// objects must not.
#pragma once

#include <bit>
#include <cstdint>

namespace whimbrel {

/// For a positive normal number; error below 2 units in the last place.
/// ln x = e ln 2 + 2 artanh z with z = (m - 1) / (m + 1), x = 2^e m, m within sqrt(2) of 1, so |z| < 0.172
/// and twelve terms of the series reach 2^-60.
inline double natural_log(double x) {
  auto bits = std::bit_cast<std::uint64_t>(x);
  std::int64_t exponent = static_cast<std::int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL;
  double m = std::bit_cast<double>(bits);
  if (m > 1.4142135623730951) {
    m /= 2;
    ++exponent;
  }
  const double z = (m - 1) / (m + 1), z2 = z * z;
  double series = 0;
  for (int k = 11; k >= 0; --k) series = series * z2 + 1.0 / (2 * k + 1);
  return static_cast<double>(exponent) * 0.6931471805599453 + 2 * z * series;
}

}  // namespace whimbrel
