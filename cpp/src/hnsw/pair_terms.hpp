// What is computed once for a code that is to be compared with other codes in whole numbers (PairPoints).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernel_table.hpp"
#include "quantize/scalar_quantizer.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel {

/// For a code whose own part of every distance is `own`: the kernel multiplies its bytes less 128, which add
/// up to `sum`, with bytes that are not less 128.
inline kernels::CodeTerms pair_terms(std::int32_t own, std::int32_t sum, bool l2) noexcept {
  return {static_cast<std::uint32_t>(own),
          static_cast<std::uint32_t>(own) + static_cast<std::uint32_t>((l2 ? 256 : 128) * sum)};
}

/// A code of n bytes as what other codes are compared with; `values` has `stride` bytes, zeros behind them.
inline kernels::CodePoint pair_point(const std::uint8_t* code, std::size_t n, std::int8_t* values,
                                     std::size_t stride, const kernels::CodeTerms& terms) noexcept {
  for (std::size_t c = 0; c < n; ++c) values[c] = static_cast<std::int8_t>(code[c] ^ 0x80u);  // less 128
  return {values, stride, terms.point};
}

/// Terms of the codes of a quantizer. With codes less 128 as e and f: |e - f|^2 = |e|^2 + |f|^2 - 2 e.f. With
/// o the origin in steps, the product of two vectors in square steps is o.o + o.e + o.f + e.f; the part of
/// one code is rounded to a whole number.
class PairTerms {
 public:
  /// Cosine is l2: its vectors have one length.
  PairTerms(const ScalarQuantizer& quantizer, Metric metric)
      : code_dim_(quantizer.code_dim), row_bytes_(quantizer.stride()) {
    if (metric == Metric::kIp) origin_ = quantizer.origin();
  }

  /// Whether the terms of all codes are far from overflowing.
  bool fit() const noexcept {
    constexpr double kMaxTerm = 1 << 28;
    double largest = 0;
    for (const double o : origin_) largest += 128 * std::abs(o);
    return row_bytes_ <= kernels::kMaxPairBytes && largest < kMaxTerm;
  }

  kernels::CodeTerms operator()(const std::uint8_t* code) const noexcept {
    std::int32_t sum = 0, squares = 0;
    for (std::size_t c = 0; c < code_dim_; ++c) {
      const std::int32_t e = code[c] - 128;
      sum += e;
      squares += e * e;
    }
    if (origin_.empty()) return pair_terms(squares, sum, true);
    double product = 0;
    for (std::size_t c = 0; c < code_dim_; ++c) product += origin_[c] * (code[c] - 128);
    return pair_terms(-static_cast<std::int32_t>(product), sum, false);
  }

 private:
  std::size_t code_dim_, row_bytes_;
  std::vector<double> origin_;  // of inner products
};

}  // namespace whimbrel
