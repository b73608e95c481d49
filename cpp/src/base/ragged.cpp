#include "base/ragged.hpp"

#include <stdexcept>
#include <string>

#include "base/parallel.hpp"
#include "base/vectors.hpp"

namespace whimbrel {

void check_offsets(std::string_view name, std::span<const std::int64_t> offsets, std::size_t rows) {
  const auto fail = [&](const std::string& expected, const std::string& got) {
    throw std::invalid_argument(std::string(name) + ": expected offsets " + expected + ", got " + got);
  };
  if (offsets.empty()) fail("of shape (n + 1,)", "none");
  if (offsets.front() != 0) fail("that start at 0", std::to_string(offsets.front()));
  for (std::size_t i = 1; i < offsets.size(); ++i)
    if (offsets[i] < offsets[i - 1])
      fail("that never fall", std::to_string(offsets[i]) + " after " + std::to_string(offsets[i - 1]) +
                                  " at position " + std::to_string(i));
  if (static_cast<std::uint64_t>(offsets.back()) != rows)
    fail("that end at the number of vectors, " + std::to_string(rows), std::to_string(offsets.back()));
}

void check_ragged(std::string_view name, const RaggedView& sets, std::size_t threads) {
  check_offsets(name, sets.offsets, sets.tokens.rows);
  check_finite(name, sets.tokens, resolve_threads(threads));
}

}  // namespace whimbrel
