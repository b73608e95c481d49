// Sets of vectors of any size, one after another in one matrix: how multi-vector documents and queries enter
// the library. No padding and no masks; a set may be empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Set i is the rows offsets[i] to offsets[i + 1] of `tokens`. The view owns nothing.
///
/// Whoever takes one checks it once: offsets[0] = 0, offsets do not fall, the last is tokens.rows.
struct RaggedView {
  MatrixView<const float> tokens;
  std::span<const std::int64_t> offsets;

  std::size_t size() const noexcept { return offsets.empty() ? 0 : offsets.size() - 1; }
  std::size_t dim() const noexcept { return tokens.cols; }
  std::size_t begin(std::size_t i) const noexcept { return static_cast<std::size_t>(offsets[i]); }
  std::size_t end(std::size_t i) const noexcept { return static_cast<std::size_t>(offsets[i + 1]); }
  /// The vectors of set i.
  MatrixView<const float> operator[](std::size_t i) const noexcept {
    return {tokens.row(begin(i)), end(i) - begin(i), tokens.cols, tokens.stride};
  }
};

/// The check of a view at the door, for who hands it to code of his own first: offsets, then values. 0
/// threads are all.
/// @throws std::invalid_argument that begins with `name`; for values naming the first row that is not finite
void check_ragged(std::string_view name, const RaggedView& sets, std::size_t threads);

}  // namespace whimbrel
