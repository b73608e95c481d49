// The random features of a token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.hpp"
#include "kernels/kernel_table.hpp"

namespace whimbrel {

/// features(x) = |x| normalized(gate(W x / |x|)) with the number 1 in front. gate(z) = z (1 + z / sqrt(z^2 +
/// pi / 2)) / 2 has the shape of GELU, of operations that round alike everywhere; normalized: mean 0 and
/// squared norm 1 over the features. MaxSim grows with |x|, so the features do.
class RandomFeatures {
 public:
  RandomFeatures(std::size_t dim, std::size_t width, std::uint64_t seed);

  /// (width,) values; a zero token has zeros. The same bits on every instruction set.
  void compute(const float* token, double* out) const;

  std::size_t width() const noexcept { return width_; }

 private:
  const kernels::KernelTable& table_;
  std::size_t dim_, width_;
  AlignedArray<float> weights_;  // (width - 1, dim)
};

}  // namespace whimbrel
