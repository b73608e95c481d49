#include "base/query_panels.hpp"

namespace whimbrel {

QueryPanels::QueryPanels(const kernels::KernelTable& table, std::size_t max_queries, std::size_t dim)
    : cols_(table.tile_cols), dim_(dim), data_(round_up(max_queries, table.tile_cols) * dim) {}

void QueryPanels::set(std::size_t i, const float* row, const float* center) {
  float* column = data_.data() + i / cols_ * cols_ * dim_ + i % cols_;
  for (std::size_t k = 0; k < dim_; ++k) column[k * cols_] = center ? row[k] - center[k] : row[k];
}

}  // namespace whimbrel
