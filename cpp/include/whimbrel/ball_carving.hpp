// Ball carving: a query with fewer tokens, whose MaxSim is nearly the same, for re-ranking.
//
// Jayaram et al., "MUVERA" (arXiv 2405.19504), section 3.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "whimbrel/export.h"
#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

/// Sets that own their vectors.
struct RaggedVectors {
  std::vector<float> tokens;             ///< (offsets.back(), dim), C order
  std::vector<std::int64_t> offsets{0};  ///< one more than there are sets
};

/// Each query in groups: the first token that is in none yet, and all later ones in none whose inner product
/// with it is at least `threshold`. A group becomes its sum, so the score of the result is at most that of
/// the query, and equal to it if no group has two tokens. Inner products are canonical, sums in order of
/// tokens.
///
/// The paper leaves the order in which tokens are picked open; here it is theirs.
///
/// @throws std::invalid_argument for bad offsets, a non-finite value, or a threshold that is NaN
WHIMBREL_API RaggedVectors ball_carving(const RaggedView& queries, float threshold, std::size_t threads = 0);

}  // namespace whimbrel
