// In which form an index measures its points while it searches.
#pragma once

#include <cstdint>

namespace whimbrel {

/// Codes only choose candidates: what is returned is measured on the vectors.
enum class Codec : std::uint32_t {
  kF32 = 0,   ///< the vectors themselves
  kSq8 = 1,   ///< one byte per coordinate
  kAuto = 2,  ///< 8 or 4 bits per coordinate, of a projection or not, or the vectors: a sample decides
  kF16 = 3,   ///< the vectors, which are kept in float16
  kSq4 = 4,   ///< half a byte per coordinate
};

/// In which form an index keeps its vectors, on which candidates are measured again.
enum class Rerank : std::uint32_t {
  kF32 = 0,
  kF16 = 1,  ///< rounded to float16, in half the bytes: distances are those of the rounded vectors
  /// Not at all, once there are codes: of kSq8, kSq4 or kAuto, which are then never learned again, and
  /// distances are those of what the codes stand for. Vectors stay as kF32 where codes cannot be learned
  /// (yet).
  kNone = 2,
};

}  // namespace whimbrel
