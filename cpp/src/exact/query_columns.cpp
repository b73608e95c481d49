#include "exact/query_columns.hpp"

#include <algorithm>
#include <cmath>

#include "base/vectors.hpp"

namespace whimbrel {

QueryColumns::QueryColumns(const kernels::KernelTable& table, MatrixView<const float> tokens)
    : tokens_(tokens), data_(round_up(tokens.rows, table.width) * tokens.cols) {
  const std::size_t dim = tokens.cols;
  float* panel = data_.data();
  for (std::size_t first = 0; first < tokens.rows;) {
    const std::size_t used = std::min(tokens.rows - first, table.tile_cols);
    const std::size_t cols = round_up(used, table.width);
    for (std::size_t c = 0; c < used; ++c)
      for (std::size_t k = 0; k < dim; ++k) panel[k * cols + c] = tokens.row(first + c)[k];
    panels_.push_back({panel, first, used, cols, table.tiles[cols / table.width - 1]});
    panel += cols * dim;
    first += used;
  }
  for (std::size_t i = 0; i < tokens.rows; ++i) norms_.push_back(std::sqrt(squared_norm(tokens.row(i), dim)));
}

}  // namespace whimbrel
