// Sets of token vectors in device memory: how multi-vector queries and documents enter the device library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "whimbrel/token_store.hpp"

namespace whimbrel::cuda {

/// Set i is the rows offsets[i] to offsets[i + 1] of a row-major matrix; a set may be empty. All pointers are
/// to device memory; the view owns nothing. Values must be finite, and offsets must start at 0, never fall
/// and end at `rows`: who hands them over has checked that.
struct RaggedTokens {
  const void* data = nullptr;  ///< elements of `type`
  TokenType type = TokenType::kFloat32;
  std::size_t rows = 0;
  std::size_t dim = 0;
  std::size_t stride = 0;         ///< elements from row to row; rows at multiples of 16 bytes are faster
  const float* scales = nullptr;  ///< (rows,), of kInt8: a value is code * scale
  const std::int64_t* offsets = nullptr;  ///< (n_sets + 1,)
  std::size_t n_sets = 0;
};

}  // namespace whimbrel::cuda
