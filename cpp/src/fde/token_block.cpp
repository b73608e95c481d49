#include "fde/token_block.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "base/vectors.hpp"
#include "fde/random_objects.hpp"

namespace whimbrel {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
/// Below this a squared norm may have lost digits to underflow.
constexpr float kSmallNorm = 1e-25f;

/// products (rows x tile_cols) = rows . panel, over the whole dimension.
void multiply(const kernels::KernelTable& table, const float* rows, std::size_t n_rows, std::size_t dim,
              const float* panel, float* products) {
  for (std::size_t k = 0; k < dim; k += kernels::kTileDepth)
    for (std::size_t r = 0; r < n_rows; r += table.tile_rows)
      table.tile(rows + r * dim + k, dim, panel + k * table.tile_cols, std::min(kernels::kTileDepth, dim - k),
                 k > 0, products + r * table.tile_cols);
}

/// A sketch as the lists of the kernel: the coordinates of each sum, ascending, those to be subtracted last.
void make_lists(const CountSketch& sketch, std::span<std::uint32_t> order, std::span<std::uint32_t> ends) {
  const auto key = [&](std::size_t i) { return 2 * sketch.bucket[i] + sketch.negative[i]; };
  for (std::size_t i = 0; i < order.size(); ++i) ++ends[key(i)];
  std::exclusive_scan(ends.begin(), ends.end(), ends.begin(), 0u);
  for (std::size_t i = 0; i < order.size(); ++i) order[ends[key(i)]++] = static_cast<std::uint32_t>(i);
}

}  // namespace

TokenEncoder::TokenEncoder(const FdeParams& params)
    : params_(params),
      table_(kernels::active_table()),
      kernels_(kernels::encoding_kernels(table_)),
      n_planes_(std::size_t{params.r_reps} * params.k_sim),
      padded_planes_(round_up(n_planes_, table_.tile_rows)) {
  const std::size_t dim = params.dim;
  planes_ = AlignedArray<float>(padded_planes_ * dim);
  const std::vector<float> planes = draw_hyperplanes(params);
  std::copy(planes.begin(), planes.end(), planes_.data());
  for (std::size_t i = 0; i < n_planes_; ++i)
    largest_plane_ = std::max(largest_plane_, std::sqrt(squared_norm(planes_.data() + i * dim, dim)));

  if (params.projection == FdeProjection::kSign) {
    padded_projections_ = round_up(params.d_proj, table_.tile_rows);
    signs_ = AlignedArray<float>(params.r_reps * padded_projections_ * dim);
    for (std::uint32_t r = 0; r < params.r_reps; ++r) {
      const std::vector<float> signs = draw_signs(params, r);
      std::copy(signs.begin(), signs.end(), signs_.data() + r * padded_projections_ * dim);
    }
  } else if (params.projection == FdeProjection::kCountSketch) {
    padded_projections_ = params.d_proj;
    order_.resize(params.r_reps * dim);
    ends_.resize(params.r_reps * 2 * params.d_proj);
    for (std::uint32_t r = 0; r < params.r_reps; ++r)
      make_lists(draw_sketch(params, r), {order_.data() + r * dim, dim},
                 {ends_.data() + r * 2 * params.d_proj, 2 * params.d_proj});
  }
}

void TokenEncoder::load(MatrixView<const float> tokens, TokenBlock& block) const {
  reserve(tokens.rows, block);
  block.tokens_ = tokens;
  block.padded_ = round_up(tokens.rows, table_.tile_cols);
  if (block.cells_.size() < params_.r_reps * block.padded_)
    block.cells_.resize(params_.r_reps * block.padded_);
  if (params_.center.empty() || n_planes_ == 0) {
    fill_panels(tokens, block);
    find_cells(tokens, block);
    return;
  }
  const MatrixView<const float> centered(block.centered_.data(), tokens.rows, params_.dim);
  for (std::size_t t = 0; t < tokens.rows; ++t)
    for (std::size_t i = 0; i < params_.dim; ++i)
      block.centered_[t * params_.dim + i] = tokens.row(t)[i] - params_.center[i];
  fill_panels(centered, block);
  find_cells(centered, block);
  fill_panels(tokens, block);
}

void TokenEncoder::reserve(std::size_t n, TokenBlock& block) const {
  if (n <= block.capacity_) return;
  const std::size_t cols = table_.tile_cols, padded = round_up(n, cols);
  block.panels_ = AlignedArray<float>(padded * params_.dim);
  block.products_ = AlignedArray<float>(padded_planes_ * cols);
  block.bounds_ = AlignedArray<float>(cols);
  if (params_.projection != FdeProjection::kIdentity) {
    block.columns_ = AlignedArray<float>(padded_projections_ * cols);
    block.rows_ = AlignedArray<float>(padded * params_.d_proj);
  }
  if (!params_.center.empty()) block.centered_ = AlignedArray<float>(n * params_.dim);
  block.capacity_ = n;
}

void TokenEncoder::fill_panels(MatrixView<const float> rows, TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols;
  for (std::size_t p = 0; p * cols < rows.rows; ++p) {
    const std::size_t n = std::min(cols, rows.rows - p * cols);
    float* out = panel(block, p);
    if (n < cols) std::fill_n(out, cols * params_.dim, 0.0f);
    kernels_.transpose(rows.row(p * cols), rows.stride, n, params_.dim, out, cols);
  }
}

/// How far from zero a product of this token with any plane must be for its sign to be that of the canonical
/// product. Both roundings by Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1, u =
/// 2^-24: a tile sums in runs of kTileDepth, the canonical form in 32 lanes; 1 % covers terms of second
/// order. Infinite where the squared norm is out of range: no product is trusted then.
float TokenEncoder::error_bound(const float* row) const {
  const std::size_t dim = params_.dim;
  const float norm = -table_.ip.canonical(row, row, dim);
  if (!(norm < kInf && norm > kSmallNorm)) return kInf;
  const auto d = static_cast<double>(dim);
  const double run = static_cast<double>(std::min(dim, kernels::kTileDepth)) + d / kernels::kTileDepth + 3;
  const double canonical = d / 32 + 8;
  return static_cast<float>(1.01 * (run + canonical) * 0x1p-24 * std::sqrt(static_cast<double>(norm)) *
                                largest_plane_ +
                            d * std::numeric_limits<float>::min());
}

std::uint32_t TokenEncoder::canonical_cell(const float* row, std::uint32_t repetition) const {
  std::uint32_t cell = 0;
  for (std::uint32_t j = 0; j < params_.k_sim; ++j) {
    const float* plane = planes_.data() + (repetition * params_.k_sim + j) * params_.dim;
    cell = 2 * cell + (-table_.ip.canonical(row, plane, params_.dim) > 0 ? 1 : 0);
  }
  return cell;
}

void TokenEncoder::find_cells(MatrixView<const float> rows, TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols;
  for (std::size_t p = 0; p * cols < rows.rows; ++p) {
    const std::size_t n = std::min(cols, rows.rows - p * cols);
    // Columns that pad the last panel are never in doubt.
    for (std::size_t c = 0; c < cols; ++c)
      block.bounds_[c] = c < n ? error_bound(rows.row(p * cols + c)) : -1.0f;
    multiply(table_, planes_.data(), padded_planes_, params_.dim, panel(block, p), block.products_.data());
    for (std::uint32_t r = 0; r < params_.r_reps; ++r) {
      std::uint32_t* cells = block.cells_.data() + r * block.padded_ + p * cols;
      std::uint64_t doubtful = kernels_.sign_bits(block.products_.data() + r * params_.k_sim * cols,
                                                  params_.k_sim, block.bounds_.data(), cells);
      if (params_.k_sim == 0) continue;
      for (; doubtful != 0; doubtful &= doubtful - 1) {
        const auto c = static_cast<std::size_t>(__builtin_ctzll(doubtful));
        cells[c] = canonical_cell(rows.row(p * cols + c), r);
      }
    }
  }
}

void TokenEncoder::project(std::uint32_t repetition, TokenBlock& block) const {
  if (params_.projection == FdeProjection::kIdentity) {
    block.projected_ = block.tokens_.data;
    block.stride_ = block.tokens_.stride;
    return;
  }
  const std::size_t cols = table_.tile_cols, dim = params_.dim, width = params_.d_proj;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  for (std::size_t p = 0; p * cols < block.size(); ++p) {
    float* columns = block.columns_.data();
    if (params_.projection == FdeProjection::kCountSketch) {
      kernels_.sketch(panel(block, p), order_.data() + repetition * dim,
                      ends_.data() + repetition * 2 * width, width, columns);
    } else {
      // Products with +-1 are exact, so that fused or not the sums have the same bits.
      multiply(table_, signs_.data() + repetition * padded_projections_ * dim, padded_projections_, dim,
               panel(block, p), columns);
      for (std::size_t i = 0; i < width * cols; ++i) columns[i] *= scale;
    }
    kernels_.transpose(columns, cols, width, std::min(cols, block.size() - p * cols),
                       block.rows_.data() + p * cols * width, width);
  }
  block.projected_ = block.rows_.data();
  block.stride_ = width;
}

}  // namespace whimbrel
