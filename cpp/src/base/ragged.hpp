// The check of offsets, apart from that of values (whimbrel/ragged_view.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

/// @throws std::invalid_argument unless the offsets start at 0, never fall and end at `rows`
void check_offsets(std::string_view name, std::span<const std::int64_t> offsets, std::size_t rows);

}  // namespace whimbrel
