// From the caller's ids to row numbers: an open-addressing table of row numbers whose keys are in the id
// array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/memory.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/row_set.hpp"

namespace whimbrel {

/// Ids of the rows 0, 1, ... While they are the row numbers, nothing is stored. A row whose id was taken away
/// has the id -1.
class IdMap {
 public:
  using Slots = CountedVector<std::uint32_t>;
  /// Empty where the present ones do.
  struct Arrays {
    BlockRows<std::int64_t> ids{1};
    Slots slots;
  };
  struct NewIds {
    std::size_t n = 0, n_numbers = 0;  // rows, and how many of them continue the numbers
    bool given = false;
    Slots slots;  // with the rows in them, if they are many
  };

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
  // What grows with the number of rows is made beside readers, and put in place of what they read in one
  // step.

  /// What a map needs for n more rows; `given`: their ids are not the next numbers.
  Arrays room_for(std::size_t n, bool given) const;
  /// Take room for n more rows, which was made; old arrays are left there. If it throws, nothing changed.
  void prepare(std::size_t n, Arrays& made);
  /// Give back what was prepared for nothing. `stored`: whether ids were before.
  void give_back(bool stored) noexcept;
  /// Ids, which were checked, of n rows that were prepared; `ids` empty: the numbers continue. For `append`.
  NewIds name(std::size_t n, std::span<const std::int64_t> ids);
  /// The same for a row in place of each of these, whose id it takes over.
  NewIds name_like(std::span<const std::uint32_t> rows);
  /// The rows that got names are there from now on; an old table is left in `made`.
  void append(NewIds&& made) noexcept;
  /// Rows in whose place others are have no id any more. Readers do not look at it.
  void forget(std::span<const std::uint32_t> rows) noexcept;

  /// Take away the id of a row; ids are stored.
  void erase(std::uint32_t row) noexcept;
  /// Drop the rows that are not in the set; ids are stored.
  void keep(const RowSet& rows) noexcept;
  /// A map of the rows of the set alone; ids are stored.
  IdMap kept(const RowSet& rows) const;

  /// Ids as they were saved, of an empty map. @throws std::invalid_argument if they cannot be
  void restore(std::span<const std::int64_t> ids, bool numbered, std::int64_t next);

  std::size_t bytes() const noexcept { return ids_.bytes() + slots_.size() * sizeof(std::uint32_t); }

 private:
  /// Places of a table for so many rows.
  static std::size_t places(std::size_t n_rows) noexcept;
  static void put(Slots& slots, const BlockRows<std::int64_t>& ids, std::uint32_t row) noexcept;
  NewIds put_aside(NewIds made);
  static std::size_t home_of(const Slots& slots, std::int64_t id) noexcept;
  std::size_t slot_with(std::uint32_t row) const noexcept;

  bool stored_ = false, numbered_ = true;
  std::size_t size_ = 0;
  std::int64_t next_ = 0;  // while ids are stored
  BlockRows<std::int64_t> ids_{1};
  Slots slots_;  // power of two, at most 3/4 full
};

}  // namespace whimbrel
