// How far a product of the tensor cores can be from the canonical one. Tested on the host
// (tests/cpp/test_token_layout.cpp), evaluated on the device once per query token.
//
// Let q be a query token, scaled by a power of two so that its largest coordinate is in [2^14, 2^15), and p a
// document token. One m16n8k16 product adds 16 exact terms and the running sum; terms are cut off at 2^-23 of
// the largest, and so is the result, twice where the unit works in halves: an error of at most 20 * 2^-23 of
// the largest partial sum, which |q| |p| bounds. (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of
// NVIDIA tensor cores", PeerJ CS 2021, found more bits kept, never fewer.) To this come the halves that stand
// for floats, with a relative error of 2^-22 or an absolute one of 2^-25 per coordinate, and the canonical
// form's own rounding, (d / 32 + 8) 2^-24 (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1).
#pragma once

#include <cstddef>

#include "token_layout.hpp"

namespace whimbrel::cuda {

/// |fast - canonical| < slack |p| + floor, both for the scaled query token.
struct ProductBound {
  double slack;
  double floor;
};

/// @param n_products   in a row that add to one sum
/// @param split_docs   document tokens are floats
/// @param scaled_norm  of the scaled query token
/// @param scale        of the query token
/// @param root_dim     square root of dim
WHIMBREL_HOST_DEVICE inline ProductBound product_bound(std::size_t dim, std::size_t n_products,
                                                       bool split_docs, double scaled_norm, double scale,
                                                       double root_dim) {
  const double d = static_cast<double>(dim);
  const double sums = 20 * static_cast<double>(n_products) * 0x1p-23;
  const double canonical = (d / 32 + 8) * 0x1p-24;
  // Splitting either side, the product of both low parts, the scale of a code, the bound's own arithmetic.
  const double rest = 4 * 0x1p-22 + 8 * 0x1p-24;
  const double relative = 1.01 * (sums + canonical + rest);
  return {relative * scaled_norm + root_dim * 0x1p-25,
          (split_docs ? scaled_norm * root_dim * 0x1p-25 * 1.01 : 0) + scale * d * 0x1p-125};
}

/// An upper bound of |p| from the largest square of the products' own p p; floats are cut to halves there.
WHIMBREL_HOST_DEVICE inline float length_bound(float largest_square, bool split_docs, float root_dim) {
#ifdef __CUDA_ARCH__
  const float root = __fsqrt_ru(1.004f * largest_square);
#else
  const float root = static_cast<float>(__builtin_sqrt(1.004 * static_cast<double>(largest_square)));
#endif
  return root + (split_docs ? root_dim * 0x1p-24f : 0.0f);
}

}  // namespace whimbrel::cuda
