// From the caller's ids to row numbers: an open-addressing table of row numbers whose keys are in the id
// array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/memory.hpp"

namespace whimbrel {

/// Ids of the rows 0, 1, ... While they are the row numbers, nothing is stored.
class IdMap {
 public:
  std::size_t size() const noexcept { return size_; }
  bool explicit_ids() const noexcept { return explicit_; }
  std::int64_t id(std::size_t row) const noexcept {
    return explicit_ ? ids_[row] : static_cast<std::int64_t>(row);
  }
  std::optional<std::uint32_t> find(std::int64_t id) const noexcept;

  /// Append n rows; `ids` empty: the row numbers continue.
  /// @throws std::invalid_argument, with nothing changed, if an id is negative, occurs twice or exists, or if
  /// ids are
  ///         missing for an index that has them
  void append(std::size_t n, std::span<const std::int64_t> ids);
  /// Undo an append: drop the rows from `size` on, and the explicit ids if there were none.
  void truncate(std::size_t size, bool explicit_ids);

  std::size_t bytes() const noexcept { return ids_.bytes() + slots_.size() * sizeof(std::uint32_t); }

 private:
  void grow(std::size_t n_rows);
  void put(std::uint32_t row) noexcept;
  std::size_t slot_of(std::int64_t id) const noexcept;

  bool explicit_ = false;
  std::size_t size_ = 0;
  BlockRows<std::int64_t> ids_{1};
  CountedVector<std::uint32_t> slots_;  // power of two, at most 3/4 full
};

}  // namespace whimbrel
