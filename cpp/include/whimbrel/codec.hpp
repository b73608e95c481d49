// In which form an index measures its points while it searches.
#pragma once

#include <cstdint>

namespace whimbrel {

/// Codes only choose candidates: what is returned is measured on the vectors.
enum class Codec : std::uint32_t {
  kF32 = 0,   ///< the vectors themselves
  kSq8 = 1,   ///< one byte per coordinate
  kAuto = 2,  ///< one byte per coordinate of a projection, per coordinate, or the vectors: a sample decides
};

}  // namespace whimbrel
