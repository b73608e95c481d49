#include "base/product_tiles.hpp"

#include <algorithm>
#include <limits>

namespace whimbrel {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;

}  // namespace

FloatTiles::FloatTiles(const kernels::KernelTable& table, std::size_t n_queries, std::size_t dim)
    : table_(table),
      dim_(dim),
      panels_(table, n_queries, dim),
      group_(table.tile_rows * dim),
      products_(round_up(n_queries, table.tile_cols) * table.tile_rows) {}

void FloatTiles::load(const float* x, std::size_t stride, std::size_t n, float* lost) {
  std::fill_n(lost, n, 0.0f);
  if (n < table_.tile_rows) {  // the tile reads whole groups of rows
    for (std::size_t r = 0; r < n; ++r) std::copy_n(x + r * stride, dim_, group_.data() + r * dim_);
    x = group_.data();
    stride = dim_;
  }
  // Runs of the rows outermost: they stay in the first-level cache while the panels pass by.
  const std::size_t cols = table_.tile_cols, tile_size = table_.tile_rows * cols;
  for (std::size_t k = 0; k < dim_; k += kernels::kTileDepth)
    for (std::size_t p = 0; p < panels_.panels(); ++p)
      table_.tile(x + k, stride, panels_.panel(p) + k * cols, std::min(kernels::kTileDepth, dim_ - k), k > 0,
                  products_.data() + p * tile_size);
}

const float* FloatTiles::products(std::size_t p) {
  return products_.data() + p * table_.tile_rows * table_.tile_cols;
}

double FloatTiles::error(std::size_t dim, const ProductNorms& norms) {
  const double depth =
      static_cast<double>(kernels::kTileDepth) + static_cast<double>(dim) / kernels::kTileDepth + 3;
  return depth * kUnitRoundoff * norms.row * norms.query;
}

Bf16Tiles::Bf16Tiles(const kernels::KernelTable& table, std::size_t n_queries, std::size_t dim)
    : unit_(table.matrix),
      dim_(dim),
      depth_(round_up(dim, table.matrix.depth)),
      panels_(round_up(n_queries, table.matrix.cols) * depth_),
      group_(table.matrix.rows * depth_),
      products_(table.matrix.rows * table.matrix.cols) {
  unit_.claim();
}

void Bf16Tiles::set(std::size_t i, const float* row, const float* center) {
  kernels::Bf16* panel = panels_.data() + i / unit_.cols * unit_.cols * depth_;
  for (std::size_t k = 0; k < dim_; ++k)
    panel[kernels::matrix_unit_offset(unit_, i % unit_.cols, k)] =
        to_bf16(center ? row[k] - center[k] : row[k]);
}

void Bf16Tiles::load(const float* x, std::size_t stride, std::size_t n, float* lost) {
  for (std::size_t r = 0; r < n; ++r) lost[r] = unit_.round(x + r * stride, dim_, group_.data() + r * depth_);
}

const float* Bf16Tiles::products(std::size_t p) {
  unit_.tile(group_.data(), depth_, panels_.data() + p * unit_.cols * depth_, depth_, products_.data());
  return products_.data();
}

double Bf16Tiles::error(std::size_t dim, const ProductNorms& norms) {
  const double d = static_cast<double>(dim);
  // What the unit flushes to zero: inputs and sums below the normal range.
  const double flushed = d * std::numeric_limits<float>::min() * (1 + norms.row + norms.query);
  return norms.row_lost * norms.query + (norms.row + norms.row_lost) * norms.query_lost +
         (d + 2) * kUnitRoundoff * norms.row * norms.query + flushed;
}

}  // namespace whimbrel
