// Inner products of rows with a chunk of queries, a group of rows at a time: what exact search proposes with.
//
// Two ways: in float, and in bfloat16 on a matrix unit, which is many times faster and rounds its input to 8
// bits. Both tell how far a product can be from the true one, so that the caller can certify what it found.
#pragma once

#include <cstddef>

#include "base/bfloat16.hpp"
#include "base/memory.hpp"
#include "base/query_panels.hpp"
#include "kernels/kernel_table.hpp"

namespace whimbrel {

/// What the error of a product depends on: norms of the row and the query, and of what rounding took from
/// them.
struct ProductNorms {
  double row, row_lost, query, query_lost;
};

/// Products are summed in runs of kTileDepth (Higham, "Accuracy and Stability of Numerical Algorithms",
/// section 3.1; u = 2^-24): |error| <= (kTileDepth + d / kTileDepth + 3) u |x| |q|.
class FloatTiles {
 public:
  static bool available(const kernels::KernelTable&) { return true; }
  static std::size_t rows(const kernels::KernelTable& table) { return table.tile_rows; }
  static std::size_t cols(const kernels::KernelTable& table) { return table.tile_cols; }
  /// Bytes of a panel for each of its values, and the most panels of a chunk.
  static constexpr std::size_t kValueBytes = sizeof(float), kMaxPanels = 16;

  FloatTiles(const kernels::KernelTable& table, std::size_t n_queries, std::size_t dim);

  template <class RowFn>
  void fill(std::size_t n, RowFn row, const float* center) {
    panels_.fill(n, row, center);
  }
  std::size_t panels() const noexcept { return panels_.panels(); }

  /// Take in n <= rows() rows; `lost` are the squared norms of what rounding took from each.
  void load(const float* x, std::size_t stride, std::size_t n, float* lost);
  /// rows() x cols() products of the group with panel p; rows beyond n are unspecified.
  const float* products(std::size_t p);

  static double error(std::size_t dim, const ProductNorms& norms);
  /// What the products see of a value of a query.
  static float rounded(float value) { return value; }

 private:
  const kernels::KernelTable& table_;
  std::size_t dim_;
  QueryPanels panels_;
  AlignedArray<float> group_, products_;
};

/// With x = x' + x" and q = q' + q" (rounded value and rest), products are of x' and q':
///   |x . q - x' . q'| <= |x"| |q| + |x'| |q"|, plus (d + 2) u |x'| |q'| for the sums.
class Bf16Tiles {
 public:
  static bool available(const kernels::KernelTable& table) { return table.matrix.rows > 0; }
  static std::size_t rows(const kernels::KernelTable& table) { return table.matrix.rows; }
  static std::size_t cols(const kernels::KernelTable& table) { return table.matrix.cols; }
  static constexpr std::size_t kValueBytes = sizeof(kernels::Bf16), kMaxPanels = 32;

  Bf16Tiles(const kernels::KernelTable& table, std::size_t n_queries, std::size_t dim);
  ~Bf16Tiles() { unit_.release(); }
  Bf16Tiles(const Bf16Tiles&) = delete;
  Bf16Tiles& operator=(const Bf16Tiles&) = delete;

  template <class RowFn>
  void fill(std::size_t n, RowFn row, const float* center) {
    n_ = n;
    for (std::size_t i = 0; i < n; ++i) set(i, row(i), center);
  }
  std::size_t panels() const noexcept { return (n_ + unit_.cols - 1) / unit_.cols; }

  void load(const float* x, std::size_t stride, std::size_t n, float* lost);
  const float* products(std::size_t p);

  static double error(std::size_t dim, const ProductNorms& norms);
  static float rounded(float value) { return from_bf16(to_bf16(value)); }

 private:
  void set(std::size_t i, const float* row, const float* center);

  const kernels::MatrixUnit& unit_;
  std::size_t dim_, depth_;  // depth_: dim_ in whole steps of the unit
  std::size_t n_ = 0;
  AlignedArray<kernels::Bf16> panels_, group_;
  AlignedArray<float> products_;
};

}  // namespace whimbrel
