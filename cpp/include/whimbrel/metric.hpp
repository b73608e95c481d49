// The meaning of a distance. Smaller is nearer, for every metric.
#pragma once

#include <cstdint>

namespace whimbrel {

/// The values are part of the file format (cpp/FORMAT.md) and never change.
enum class Metric : std::uint32_t {
  kL2 = 0,      ///< squared Euclidean distance, sum (a_i - b_i)^2
  kIp = 1,      ///< negated inner product, -sum a_i b_i; may be negative, not a distance in the strict sense
  kCosine = 2,  ///< 1 - cos(a, b), in [0, 2] up to rounding; a zero vector is at distance 1 from everything
  kUser = 3,    ///< of an HnswIndex only: HnswParams::distance
};

}  // namespace whimbrel
