// How far the score of a scan can be from what canonical arithmetic says.
//
// In the units of the operand (scaled, centered): x', q' are the fp16 values, x", q" what rounding took from
// the row x and the query q. A score is bias - x'.q', with bias = |x|^2 / 2 rounded to float for l2, 0 for
// the inner product. The exact value it stands for is half the squared distance less |q|^2 / 2, or the
// negated product; what is returned is that value in canonical arithmetic. The difference is at most
//   |x"| |q| + |x'| |q"|                  fp16
//   + 5/4 depth 2^-23 (bias + |x'| |q'|)  sums of products in a matrix unit
//   + u bias                              the bias, u = 2^-24
//   + (d / 32 + 8) u of the sum of the magnitudes of the terms, + d times the smallest float: canonical.
//
// The unit: a step of 16 products and the sum so far are added with the bits below 2^-23 of the largest cut
// off (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021, found this or
// better on every device; some take two half steps). That is at most 20 times 2^-23 of the largest partial
// sum per step, and partial sums are at most bias + |x'| |q'|. The filter's fused sums in float are better.
#pragma once

#include <cstddef>
#include <limits>

#include "host_device.hpp"

namespace whimbrel::cuda {

/// Over all rows of an operand, in its units.
struct OperandBounds {
  double norm;  ///< |x|
  double lost;  ///< |x"|
  double bias;
};

struct QueryNorms {
  double norm, lost;
};

/// What the unit's sums can be off: `products` bounds the magnitude of any partial sum of products.
WHIMBREL_HOST_DEVICE inline double unit_sum_error(std::size_t depth, double bias, double products) {
  return 1.25 * static_cast<double>(depth) * 0x1p-23 * (bias + products);
}

/// Bound of |score - canonical|, in the units of scores. Infinite where canonical distances could overflow.
///
/// @param unit  what one unit of a score is in units of the canonical value: 2 / scale^2 for l2 (a score is
///              half a squared distance), 1 / (scale of rows times scale of queries) for products
WHIMBREL_HOST_DEVICE inline double score_error(bool l2, std::size_t dim, std::size_t depth,
                                               const OperandBounds& rows, const QueryNorms& query,
                                               double unit) {
  constexpr double kUnit = 0x1p-24, kSmallest = 0x1p-149, kLargest = 0x1p126;
  const double d = static_cast<double>(dim);
  const double products = (rows.norm + rows.lost) * (query.norm + query.lost);
  const double sum = rows.norm + query.norm;
  const double terms = l2 ? sum * sum / 2 : products;  // magnitudes that canonical arithmetic adds
  if (!(terms * unit < kLargest)) return std::numeric_limits<double>::infinity();
  const double fp16 = rows.lost * query.norm + (rows.norm + rows.lost) * query.lost;
  const double unit_sums = unit_sum_error(depth, rows.bias, products);
  const double canonical = (d / 32 + 8) * kUnit * terms + d * kSmallest / unit;
  // 1 % on top covers the terms of second order and the arithmetic of this bound; the rest keeps it above 0.
  return 1.01 * (fp16 + unit_sums + kUnit * rows.bias + canonical) + 0x1p-120;
}

}  // namespace whimbrel::cuda
