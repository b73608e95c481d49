// The work that is done per token: its cell in each repetition, and what is added to that cell. Tokens are
// taken in blocks, laid out as panels of the tile kernel; where a token stands in a block changes no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Tokens as columns: panels of tile_cols tokens, dim rows each.
class TokenBlock {
 public:
  std::size_t size() const noexcept { return tokens_.rows; }
  /// Cells of the tokens in a repetition, by sign bits.
  const std::uint32_t* cells(std::uint32_t repetition) const noexcept {
    return cells_.data() + repetition * padded_;
  }
  /// What the last project() made of token t, and how far apart tokens are.
  const float* projected(std::size_t t) const noexcept { return projected_ + t * stride_; }
  std::size_t stride() const noexcept { return stride_; }

 private:
  friend class TokenEncoder;

  MatrixView<const float> tokens_;
  std::size_t padded_ = 0;  // to whole panels
  std::vector<std::uint32_t> cells_;
  const float* projected_ = nullptr;
  std::size_t stride_ = 0;
  // Scratch; only grows.
  std::size_t capacity_ = 0;
  AlignedArray<float> panels_, products_, columns_, rows_, bounds_, centered_;
};

class TokenEncoder {
 public:
  /// `params` is checked and stays where it is.
  explicit TokenEncoder(const FdeParams& params);

  /// Take in tokens, and find their cells.
  ///
  /// A sign is that of the canonical inner product of token and hyperplane, so cells are the same on every
  /// instruction set. The product itself comes from tiles; where it is not further from zero than both
  /// roundings together can be, the canonical product is computed (about one in 10,000 signs).
  void load(MatrixView<const float> tokens, TokenBlock& block) const;
  /// Make projected() that of a repetition.
  void project(std::uint32_t repetition, TokenBlock& block) const;

  const kernels::EncodingKernels& kernels() const noexcept { return kernels_; }

 private:
  void reserve(std::size_t n, TokenBlock& block) const;
  /// Columns of `block` from the rows of a matrix.
  void fill_panels(MatrixView<const float> rows, TokenBlock& block) const;
  void find_cells(MatrixView<const float> rows, TokenBlock& block) const;
  float error_bound(const float* row) const;
  std::uint32_t canonical_cell(const float* row, std::uint32_t repetition) const;
  float* panel(TokenBlock& block, std::size_t p) const {
    return block.panels_.data() + p * table_.tile_cols * params_.dim;
  }

  const FdeParams& params_;
  const kernels::KernelTable& table_;
  const kernels::EncodingKernels& kernels_;
  AlignedArray<float> planes_;  // rows padded with zeros to whole tiles
  std::size_t n_planes_, padded_planes_;
  double largest_plane_ = 0;  // norm
  // Count sketches of all repetitions, as lists for the kernel.
  std::vector<std::uint32_t> order_, ends_;
  AlignedArray<float> signs_;  // padded to whole tiles in each repetition
  std::size_t padded_projections_ = 0;
};

}  // namespace whimbrel
