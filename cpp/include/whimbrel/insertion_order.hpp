// Orders in which to insert points into a graph. Each function fills a permutation of 0..n-1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Sort by value (a LID, a distance, ...), equal values by position. NaN is an error.
/// @throws std::invalid_argument if the sizes differ or a value is NaN
WHIMBREL_API void order_by_value(std::span<const double> values, bool descending,
                                 std::span<std::int64_t> order);

/// Sort by category label, ascending, positions within one category in a seeded random order.
WHIMBREL_API void order_by_category(std::span<const std::int64_t> labels, std::uint64_t seed,
                                    std::span<std::int64_t> order);

/// A uniformly random permutation, a pure function of (seed, order.size()).
WHIMBREL_API void random_order(std::uint64_t seed, std::span<std::int64_t> order);

/// Squared Euclidean distance of every row to the mean row: the O(n d) stand-in for density.
WHIMBREL_API void distance_to_mean(MatrixView<const float> data, std::size_t threads, std::span<double> out);

}  // namespace whimbrel
