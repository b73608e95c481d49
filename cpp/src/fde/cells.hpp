// Cells of one repetition: how they are numbered, and which token an empty one gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace whimbrel {

/// Gray decoding, most significant bit first: bit j of the result is the parity of the bits from j up. The
/// reference numbers cells by it, so that neighbors in number differ in one sign.
inline std::uint32_t gray_to_number(std::uint32_t bits) {
  for (std::uint32_t shift = 1; shift < 32; shift *= 2) bits ^= bits >> shift;
  return bits;
}

/// Tokens per cell, the first of them, and the nearest token of empty cells. Cells are named by their sign
/// bits here. One object serves many sets; nothing is allocated after the first.
class CellCensus {
 public:
  explicit CellCensus(std::uint32_t k_sim)
      : k_sim_(k_sim), count_(std::size_t{1} << k_sim), nearest_(count_.size()), level_(count_.size()) {}

  /// `cells`: of each token.
  void take(std::span<const std::uint32_t> cells);

  /// Give every cell without tokens the nearest: the one whose bits differ least from the cell's, the first
  /// of several. There must be a token.
  void fill();

  /// Cells that had no token, ascending.
  std::span<const std::uint32_t> empty() const noexcept { return empty_; }
  std::uint32_t count(std::uint32_t cell) const noexcept { return count_[cell]; }
  std::uint32_t nearest(std::uint32_t cell) const noexcept { return nearest_[cell]; }
  /// Bits in which a cell that was filled differs from its nearest tokens.
  std::uint32_t distance(std::uint32_t cell) const noexcept { return level_[cell]; }
  std::size_t n_cells() const noexcept { return count_.size(); }

 private:
  static constexpr std::uint8_t kUnreached = 0xff;

  std::uint32_t k_sim_;
  std::vector<std::uint32_t> count_, nearest_, empty_, unreached_;
  std::vector<std::uint8_t> level_;
};

}  // namespace whimbrel
