// Query tokens as columns of the tile kernel: panels as wide as tiles, and a last one only as wide as it
// must be.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "kernels/kernel_table.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

class QueryColumns {
 public:
  struct Panel {
    const float* data;  // depth x cols
    std::size_t first;  // token in its first column
    std::size_t used;   // columns with a token; zeros behind them
    std::size_t cols;
    kernels::TileKernel tile;
  };

  /// `tokens` must outlive it.
  QueryColumns(const kernels::KernelTable& table, MatrixView<const float> tokens);

  std::span<const Panel> panels() const noexcept { return panels_; }
  std::size_t size() const noexcept { return tokens_.rows; }
  const float* token(std::size_t i) const noexcept { return tokens_.row(i); }
  double norm(std::size_t i) const noexcept { return norms_[i]; }

 private:
  MatrixView<const float> tokens_;
  AlignedArray<float> data_;
  std::vector<Panel> panels_;
  std::vector<double> norms_;
};

}  // namespace whimbrel
