// The checks of ragged sets at the door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

/// @throws std::invalid_argument unless the offsets start at 0, never fall and end at `rows`
void check_offsets(std::string_view name, std::span<const std::int64_t> offsets, std::size_t rows);

/// Offsets, then values. @throws std::invalid_argument, for values naming the first row that is not finite
void check_ragged(std::string_view name, const RaggedView& sets, std::size_t threads);

}  // namespace whimbrel
