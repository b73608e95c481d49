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

/// For a row whose own part of every distance is `own`: the kernel multiplies its codes less `zero`, which
/// add up to `sum`, with codes that are not less `zero`.
inline kernels::CodeTerms pair_terms(std::int32_t own, std::int32_t sum, bool l2,
                                     std::int32_t zero = 128) noexcept {
  return {static_cast<std::uint32_t>(own),
          static_cast<std::uint32_t>(own) + static_cast<std::uint32_t>((l2 ? 2 : 1) * zero * sum)};
}

/// A row of codes as what others are compared with; `values` are as many as belong to `stride` bytes, zeros
/// where there is no code.
inline kernels::CodePoint pair_point(const std::uint8_t* code, CodeLayout layout, std::int8_t* values,
                                     std::size_t stride, const kernels::CodeTerms& terms) noexcept {
  layout.signed_values(code, values);
  return {values, stride, terms.point};
}

/// Terms of the codes of a quantizer. With codes less their zero (128, or 8 of 4 bits) as e and f: |e - f|^2
/// = |e|^2 + |f|^2 - 2 e.f. With o the origin in steps, the product of two vectors in square steps is o.o +
/// o.e + o.f + e.f; the part of one code is rounded to a whole number.
class PairTerms {
 public:
  /// Cosine is l2: its vectors have one length.
  PairTerms(const ScalarQuantizer& quantizer, Metric metric)
      : layout_(quantizer.layout()), row_bytes_(quantizer.stride()) {
    if (metric == Metric::kIp) origin_ = quantizer.origin();
  }

  /// Whether the terms of all codes are far from overflowing.
  bool fit() const noexcept {
    constexpr double kMaxTerm = 1 << 28;
    double largest = 0;
    for (const double o : origin_) largest += layout_.zero() * std::abs(o);
    return row_bytes_ <= kernels::kMaxPairBytes && largest < kMaxTerm;
  }

  kernels::CodeTerms operator()(const std::uint8_t* code) const noexcept {
    if (layout_.nibbles()) return terms([&](std::size_t c) { return layout_.at(code, c) - 8; });
    return terms([&](std::size_t c) { return code[c] - 128; });
  }

 private:
  template <class Code>
  kernels::CodeTerms terms(Code code) const noexcept {
    std::int32_t sum = 0, squares = 0;
    for (std::size_t c = 0; c < layout_.dim; ++c) {
      const std::int32_t e = code(c);
      sum += e;
      squares += e * e;
    }
    if (origin_.empty()) return pair_terms(squares, sum, true, layout_.zero());
    double product = 0;
    for (std::size_t c = 0; c < layout_.dim; ++c) product += origin_[c] * code(c);
    return pair_terms(-static_cast<std::int32_t>(product), sum, false, layout_.zero());
  }

  CodeLayout layout_;
  std::size_t row_bytes_;
  std::vector<double> origin_;  // of inner products
};

}  // namespace whimbrel
