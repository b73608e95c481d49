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
      kernels_(*table_.encoding),
      n_planes_(std::size_t{params.r_reps} * params.k_sim),
      planes_((n_planes_ + table_.tile_rows) * params.dim) {
  const std::size_t dim = params.dim;
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
    ends_.resize(2 * params.d_proj * params.r_reps);
    for (std::size_t r = 0; r < params.r_reps; ++r)
      make_lists(draw_sketch(params, static_cast<std::uint32_t>(r)), {order_.data() + r * dim, dim},
                 {ends_.data() + r * 2 * params.d_proj, 2 * params.d_proj});
  }
}

bool TokenEncoder::load(MatrixView<const float> tokens, std::uint32_t first, std::uint32_t last,
                        TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols, dim = params_.dim;
  block.first_ = first;
  reserve(tokens.rows, last - first, block);
  for (std::size_t begin = 0; begin < tokens.rows; begin += cols) {
    const std::size_t n = std::min(cols, tokens.rows - begin);
    const MatrixView<const float> rows(tokens.row(begin), n, dim, tokens.stride);
    MatrixView<const float> signed_rows = rows;  // what the signs are taken of
    if (!params_.center.empty()) {
      for (std::size_t t = 0; t < n; ++t)
        for (std::size_t i = 0; i < dim; ++i)
          block.centered_[t * dim + i] = rows.row(t)[i] - params_.center[i];
      signed_rows = {block.centered_.data(), n, dim};
    }
    bool finite = true;
    for (std::size_t c = 0; c < n; ++c) {
      block.bounds_[c] = error_bound(signed_rows.row(c));
      // Only where the bound is infinite can a value be; a huge center may make one so that was not.
      if (block.bounds_[c] == kInf)
        finite =
            finite && std::all_of(rows.row(c), rows.row(c) + dim, [](float x) { return std::isfinite(x); });
    }
    if (!finite) return false;
    // Columns that pad the last panel are never in doubt.
    std::fill(block.bounds_.begin() + static_cast<std::ptrdiff_t>(n), block.bounds_.end(), -1.0f);

    fill_panel(signed_rows, block);
    find_cells(signed_rows, begin, last - first, block);
    if (params_.projection == FdeProjection::kIdentity) continue;
    if (!params_.center.empty()) fill_panel(rows, block);
    for (std::uint32_t r = first; r < last; ++r) project(n, begin, r, block);
  }
  if (params_.projection == FdeProjection::kIdentity) {
    block.projected_ = tokens.data;
    block.stride_ = tokens.stride;
    block.repetition_stride_ = 0;
  } else {
    block.projected_ = block.rows_.data();
    block.stride_ = params_.d_proj;
    block.repetition_stride_ = block.padded_ * params_.d_proj;
  }
  return true;
}

/// Sizes are those of the largest block so far, so that nothing is allocated in the long run.
void TokenEncoder::reserve(std::size_t n, std::uint32_t repetitions, TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols, dim = params_.dim;
  const auto grow = [](auto& values, std::size_t size) {
    if (values.size() < size) values.resize(size);
  };
  block.padded_ = round_up(n, cols);
  grow(block.cells_, repetitions * block.padded_);
  if (params_.projection != FdeProjection::kIdentity)
    grow(block.rows_, repetitions * block.padded_ * params_.d_proj);
  if (!block.bounds_.empty()) return;
  block.bounds_.resize(cols);
  block.panel_ = AlignedArray<float>(dim * cols);
  block.products_ = AlignedArray<float>((n_planes_ + table_.tile_rows) * cols);
  if (params_.projection != FdeProjection::kIdentity)
    block.columns_ = AlignedArray<float>(padded_projections_ * cols);
  if (!params_.center.empty()) block.centered_.resize(cols * dim);
}

void TokenEncoder::fill_panel(MatrixView<const float> rows, TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols;
  if (rows.rows < cols) std::fill_n(block.panel_.data(), cols * params_.dim, 0.0f);
  kernels_.transpose(rows.data, rows.stride, rows.rows, params_.dim, block.panel_.data(), cols);
}

/// How far from zero a product of this token with any plane must be for its sign to be that of the canonical
/// product. Both roundings by Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1, u =
/// 2^-24: a tile sums in runs of kTileDepth, the canonical form in 32 lanes; 1 % covers terms of second
/// order. Infinite where the squared norm is out of range or not a number: no product is trusted then.
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
    const float* plane = planes_.data() + (std::size_t{repetition} * params_.k_sim + j) * params_.dim;
    cell = 2 * cell + (-table_.ip.canonical(row, plane, params_.dim) > 0 ? 1 : 0);
  }
  return cell;
}

void TokenEncoder::find_cells(MatrixView<const float> rows, std::size_t begin, std::uint32_t repetitions,
                              TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols;
  const float* planes = planes_.data() + std::size_t{block.first_} * params_.k_sim * params_.dim;
  // The last tile may reach into the next repetition or the padding.
  multiply(table_, planes, std::size_t{repetitions} * params_.k_sim, params_.dim, block.panel_.data(),
           block.products_.data());
  for (std::size_t r = 0; r < repetitions; ++r) {
    std::uint32_t* cells = block.cells_.data() + r * block.padded_ + begin;
    std::uint64_t doubtful = kernels_.sign_bits(block.products_.data() + r * params_.k_sim * cols,
                                                params_.k_sim, block.bounds_.data(), cells);
    for (; doubtful != 0 && params_.k_sim > 0; doubtful &= doubtful - 1) {
      const auto c = static_cast<std::size_t>(__builtin_ctzll(doubtful));
      cells[c] = canonical_cell(rows.row(c), block.first_ + static_cast<std::uint32_t>(r));
    }
  }
}

void TokenEncoder::project(std::size_t n, std::size_t begin, std::uint32_t repetition,
                           TokenBlock& block) const {
  const std::size_t cols = table_.tile_cols, dim = params_.dim, width = params_.d_proj;
  float* columns = block.columns_.data();
  if (params_.projection == FdeProjection::kCountSketch) {
    kernels_.sketch(block.panel_.data(), order_.data() + repetition * dim,
                    ends_.data() + std::size_t{repetition} * 2 * width, width, columns);
  } else {
    // Products with +-1 are exact, so that fused or not the sums have the same bits.
    multiply(table_, signs_.data() + repetition * padded_projections_ * dim, padded_projections_, dim,
             block.panel_.data(), columns);
    const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
    for (std::size_t i = 0; i < width * cols; ++i) columns[i] *= scale;
  }
  float* rows = block.rows_.data() + ((repetition - block.first_) * block.padded_ + begin) * width;
  kernels_.transpose(columns, cols, width, n, rows, width);
}

}  // namespace whimbrel
