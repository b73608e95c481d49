// GreedyPasses: what the l2-greedy choice of anchor items (cur.hpp) does to all items at every step, for
// machines that are faster at it than the CPU. The choice and what it needs of linear algebra stay in the
// core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// What the passes begin with, for n items. Valid during the call only.
struct GreedyStart {
  MatrixView<const float> rows;           ///< (n, dim) features, or of int8 their codes
  std::span<const float> scales;          ///< (n,), of int8: products are multiplied by them; else empty
  std::span<const double> column;         ///< (n,) |G_j|^2
  std::span<const double> diagonal;       ///< (n,) G_jj
  std::span<const std::uint8_t> blocked;  ///< (n,) 1: never chosen
  double tiny = 0;                        ///< nor is an item whose diagonal is not above this
};

/// All that is returned must have the bits of the CPU, so the arithmetic is prescribed.
class GreedyPasses {
 public:
  virtual ~GreedyPasses() = default;

  virtual void start(const GreedyStart& start) = 0;
  /// For each item j, with u = x . row_j and t = w . row_j in canonical arithmetic (each multiplied by the
  /// item's scale, if there are scales) and, in double, s = u / g:
  ///   column_j -= s (2 t - s xw),  diagonal_j -= s u,  every operation rounded by itself.
  virtual void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) = 0;
  virtual void block(std::size_t item) = 0;
  /// Of the items that may be chosen and have a gain column / diagonal above 0, the first whose gain is at
  /// least kSameGain times the largest; n if there is none.
  virtual std::size_t best() = 0;

  /// Equal up to rounding is equal: twins must not be told apart by the order of sums.
  static constexpr double kSameGain = 1 - 1e-9;
};

}  // namespace whimbrel
