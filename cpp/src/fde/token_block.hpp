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

/// The tokens of some sets in some repetitions.
class TokenBlock {
 public:
  /// Cells of the tokens in a repetition, by sign bits.
  const std::uint32_t* cells(std::uint32_t repetition) const noexcept {
    return cells_.data() + (repetition - first_) * padded_;
  }
  /// What token t adds to its cell; the next token's is stride() further.
  const float* projected(std::uint32_t repetition, std::size_t t) const noexcept {
    return projected_ + (repetition - first_) * repetition_stride_ + t * stride_;
  }
  std::size_t stride() const noexcept { return stride_; }

 private:
  friend class TokenEncoder;

  std::uint32_t first_ = 0;
  std::size_t padded_ = 0;  // tokens, to whole panels
  const float* projected_ = nullptr;
  std::size_t stride_ = 0, repetition_stride_ = 0;
  CountedVector<std::uint32_t> cells_;
  CountedVector<float> rows_;
  // One panel at a time: it and its products stay in the first-level cache while all repetitions look at it.
  AlignedArray<float> panel_, products_, columns_;
  std::vector<float> bounds_, centered_;
};

class TokenEncoder {
 public:
  /// `params` is checked and stays where it is.
  explicit TokenEncoder(const FdeParams& params);

  /// Find the cells of tokens, and project them, in repetitions [first, last).
  ///
  /// A sign is that of the canonical inner product of token and hyperplane, so cells are the same on every
  /// instruction set. The product itself comes from tiles; where it is not further from zero than both
  /// roundings together can be, the canonical product is computed (about one in 10,000 signs).
  /// @returns false if a value is not finite; the block is of no use then
  bool load(MatrixView<const float> tokens, std::uint32_t first, std::uint32_t last, TokenBlock& block) const;

  const kernels::EncodingKernels& kernels() const noexcept { return kernels_; }

 private:
  void reserve(std::size_t n, std::uint32_t repetitions, TokenBlock& block) const;
  /// The panel's columns, from at most tile_cols rows.
  void fill_panel(MatrixView<const float> rows, TokenBlock& block) const;
  /// Cells of the panel's tokens; the first is token `begin` of the block.
  void find_cells(MatrixView<const float> rows, std::size_t begin, std::uint32_t repetitions,
                  TokenBlock& block) const;
  void project(std::size_t n, std::size_t begin, std::uint32_t repetition, TokenBlock& block) const;
  float error_bound(const float* row) const;
  std::uint32_t canonical_cell(const float* row, std::uint32_t repetition) const;

  const FdeParams& params_;
  const kernels::KernelTable& table_;
  const kernels::EncodingKernels& kernels_;
  std::size_t n_planes_;
  AlignedArray<float> planes_;  // and a tile of zero rows
  double largest_plane_ = 0;    // norm
  // Count sketches of all repetitions, as lists for the kernel.
  std::vector<std::uint32_t> order_, ends_;
  AlignedArray<float> signs_;  // padded to whole tiles in each repetition
  std::size_t padded_projections_ = 0;
};

}  // namespace whimbrel
