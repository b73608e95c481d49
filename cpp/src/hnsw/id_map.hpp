// From the caller's ids to row numbers: an open-addressing table of row numbers whose keys are in the id
// array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/memory.hpp"
#include "hnsw/row_set.hpp"

namespace whimbrel {

/// Ids of the rows 0, 1, ... While they are the row numbers, nothing is stored. A row whose id was taken away
/// has the id -1.
class IdMap {
 public:
  std::size_t size() const noexcept { return size_; }
  bool stored() const noexcept { return stored_; }
  /// Ids that the map gives by itself are numbers in the order of addition; the next one.
  bool numbered() const noexcept { return numbered_; }
  std::int64_t next() const noexcept { return stored_ ? next_ : static_cast<std::int64_t>(size_); }

  std::int64_t id(std::size_t row) const noexcept {
    return stored_ ? ids_[row] : static_cast<std::int64_t>(row);
  }
  std::optional<std::uint32_t> find(std::int64_t id) const noexcept;

  /// @throws std::invalid_argument if `append` cannot take them: an id is negative, occurs twice or exists,
  /// or
  ///         ids are missing for an index that was given some
  void check(std::size_t n, std::span<const std::int64_t> ids) const;
  /// Room for n more rows; `given`: their ids are not the next numbers. If it throws, nothing changed.
  void prepare(std::size_t n, bool given);
  /// Give back what was prepared for nothing. `stored`: whether ids were before.
  void give_back(bool stored) noexcept;
  /// Append n rows that were prepared, with ids that were checked; `ids` empty: the numbers continue.
  void append(std::size_t n, std::span<const std::int64_t> ids) noexcept;
  /// Append a row for each of these, that takes over its id.
  void append_in_place_of(std::span<const std::uint32_t> rows) noexcept;

  /// Store ids, so that they can be taken away.
  void store();
  /// Take away the id of a row; ids are stored.
  void erase(std::uint32_t row) noexcept;
  /// Drop the rows that are not in the set; ids are stored.
  void keep(const RowSet& rows) noexcept;

  /// Ids as they were saved, of an empty map. @throws std::invalid_argument if they cannot be
  void restore(std::span<const std::int64_t> ids, bool numbered, std::int64_t next);

  std::size_t bytes() const noexcept { return ids_.bytes() + slots_.size() * sizeof(std::uint32_t); }

 private:
  void grow(std::size_t n_rows);
  void put(std::uint32_t row) noexcept;
  std::size_t slot_of(std::int64_t id) const noexcept;
  std::size_t slot_with(std::uint32_t row) const noexcept;

  bool stored_ = false, numbered_ = true;
  std::size_t size_ = 0;
  std::int64_t next_ = 0;  // while ids are stored
  BlockRows<std::int64_t> ids_{1};
  CountedVector<std::uint32_t> slots_;  // power of two, at most 3/4 full
};

}  // namespace whimbrel
