// Queries laid out for the tile kernel: panels of tile_cols queries, transposed, so that one row element
// meets a whole register of queries.
#pragma once

#include <cstddef>

#include "base/memory.hpp"
#include "kernels/kernel_table.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

class QueryPanels {
 public:
  /// Room for `max_queries` queries of `dim` values.
  QueryPanels(const kernels::KernelTable& table, std::size_t max_queries, std::size_t dim);

  /// Query number i becomes row(i) - center (center: dim values or null).
  template <class RowFn>
  void fill(std::size_t n, RowFn row, const float* center = nullptr) {
    n_ = n;
    for (std::size_t i = 0; i < n; ++i) set(i, row(i), center);
  }

  std::size_t panels() const noexcept { return (n_ + cols_ - 1) / cols_; }
  std::size_t cols() const noexcept { return cols_; }
  const float* panel(std::size_t p) const noexcept { return data_.data() + p * cols_ * dim_; }

 private:
  void set(std::size_t i, const float* row, const float* center);

  std::size_t cols_;
  std::size_t dim_;
  std::size_t n_ = 0;
  AlignedArray<float> data_;
};

}  // namespace whimbrel
