#include "hnsw/id_map.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "hnsw/graph.hpp"

namespace whimbrel {
namespace {

void check_each_once(std::span<const std::int64_t> ids) {
  std::vector<std::int64_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw std::invalid_argument("ids: expected each once, got " + std::to_string(*twice) + " twice");
}

}  // namespace

std::size_t IdMap::home_of(const Slots& slots, std::int64_t id) noexcept {
  return mix64(static_cast<std::uint64_t>(id)) & (slots.size() - 1);
}

std::optional<std::uint32_t> IdMap::find(std::int64_t id) const noexcept {
  if (id < 0) return std::nullopt;
  if (!stored_) {
    if (static_cast<std::uint64_t>(id) >= size_) return std::nullopt;
    return static_cast<std::uint32_t>(id);
  }
  for (std::size_t s = home_of(slots_, id); slots_[s] != kNoNode; s = (s + 1) & (slots_.size() - 1))
    if (ids_[slots_[s]] == id) return slots_[s];
  return std::nullopt;
}

std::size_t IdMap::slot_with(std::uint32_t row) const noexcept {
  std::size_t s = home_of(slots_, ids_[row]);
  while (slots_[s] != row) s = (s + 1) & (slots_.size() - 1);
  return s;
}

/// In place of a row with the same id, if there is one.
void IdMap::put(Slots& slots, const BlockRows<std::int64_t>& ids, std::uint32_t row) noexcept {
  std::size_t s = home_of(slots, ids[row]);
  while (slots[s] != kNoNode && ids[slots[s]] != ids[row]) s = (s + 1) & (slots.size() - 1);
  slots[s] = row;
}

std::size_t IdMap::places(std::size_t n_rows) noexcept {
  return std::bit_ceil(std::max<std::size_t>(16, n_rows * 4 / 3 + 1));
}

void IdMap::check(std::size_t n, std::span<const std::int64_t> ids) const {
  if (n == 0) return;
  if (ids.empty()) {
    if (!numbered_)
      throw std::invalid_argument(
          "ids: expected one per vector, as for the vectors already in the index, got none");
    return;
  }
  if (ids.size() != n)
    throw std::invalid_argument("ids: expected " + std::to_string(n) + " values, got " +
                                std::to_string(ids.size()));
  for (const std::int64_t id : ids) {
    if (id < 0) throw std::invalid_argument("ids: expected no negative value, got " + std::to_string(id));
    if (find(id))
      throw std::invalid_argument("ids: expected ids not in the index, got " + std::to_string(id));
  }
  check_each_once(ids);
}

IdMap::Arrays IdMap::room_for(std::size_t n, bool given) const {
  Arrays made;
  if (!stored_ && !given) return made;
  if (!stored_) {
    made.ids.resize(size_ + n);
    for (std::size_t row = 0; row < size_; ++row) made.ids[row] = static_cast<std::int64_t>(row);
  }
  if (stored_ && places(size_ + n) <= slots_.size()) return made;
  made.slots = Slots(places(size_ + n), kNoNode);
  const BlockRows<std::int64_t>& ids = stored_ ? ids_ : made.ids;
  for (std::size_t row = 0; row < size_; ++row)
    if (ids[row] >= 0) put(made.slots, ids, static_cast<std::uint32_t>(row));
  return made;
}

void IdMap::prepare(std::size_t n, Arrays& made) {
  if (stored_) {
    ids_.resize(size_ + n);
  } else if (!made.slots.empty()) {
    std::swap(ids_, made.ids);
    next_ = static_cast<std::int64_t>(size_);
    stored_ = true;
  }
  if (!made.slots.empty()) std::swap(slots_, made.slots);
}

void IdMap::give_back(bool stored) noexcept {
  stored_ = stored;
  ids_.resize(stored ? size_ : 0);
  if (!stored) slots_ = CountedVector<std::uint32_t>();
}

IdMap::NewIds IdMap::name(std::size_t n, std::span<const std::int64_t> ids) {
  NewIds made{n, ids.empty() ? n : 0, n > 0 && !ids.empty(), {}};
  if (!stored_) return made;
  for (std::size_t i = 0; i < n; ++i)
    ids_[size_ + i] = ids.empty() ? next_ + static_cast<std::int64_t>(i) : ids[i];
  return put_aside(std::move(made));
}

IdMap::NewIds IdMap::name_like(std::span<const std::uint32_t> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) ids_[size_ + i] = ids_[rows[i]];
  return put_aside({rows.size(), 0, false, {}});
}

/// Many rows are put into a copy of the table.
IdMap::NewIds IdMap::put_aside(NewIds made) {
  if (made.n <= kRowsInSlice) return made;
  made.slots = slots_;
  for (std::size_t i = 0; i < made.n; ++i) put(made.slots, ids_, static_cast<std::uint32_t>(size_ + i));
  return made;
}

void IdMap::append(NewIds&& made) noexcept {
  if (made.given) numbered_ = false;
  if (stored_) {
    next_ += static_cast<std::int64_t>(made.n_numbers);
    if (made.slots.empty())
      for (std::size_t i = 0; i < made.n; ++i) put(slots_, ids_, static_cast<std::uint32_t>(size_ + i));
    else
      std::swap(slots_, made.slots);
  }
  size_ += made.n;
}

void IdMap::forget(std::span<const std::uint32_t> rows) noexcept {
  for (const std::uint32_t row : rows) ids_[row] = -1;
}

void IdMap::erase(std::uint32_t row) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = slot_with(row);
  ids_[row] = -1;
  // Whoever stands behind the hole because it was taken moves up.
  for (std::size_t s = (hole + 1) & mask; slots_[s] != kNoNode; s = (s + 1) & mask) {
    const std::size_t home = home_of(slots_, ids_[slots_[s]]);
    if (((s - home) & mask) < ((s - hole) & mask)) continue;
    slots_[hole] = slots_[s];
    hole = s;
  }
  slots_[hole] = kNoNode;
}

void IdMap::keep(const RowSet& rows) noexcept {
  size_ = 0;
  rows.for_each([&](std::uint32_t row) { ids_[size_++] = ids_[row]; });
  ids_.resize(size_);
  std::fill(slots_.begin(), slots_.end(), kNoNode);
  for (std::size_t row = 0; row < size_; ++row) put(slots_, ids_, static_cast<std::uint32_t>(row));
}

IdMap IdMap::kept(const RowSet& rows) const {
  IdMap out;
  out.stored_ = true;
  out.numbered_ = numbered_;
  out.next_ = next_;
  out.ids_.resize(rows.count());
  out.slots_ = Slots(places(rows.count()), kNoNode);
  rows.for_each([&](std::uint32_t row) {
    out.ids_[out.size_] = ids_[row];
    put(out.slots_, out.ids_, static_cast<std::uint32_t>(out.size_++));
  });
  return out;
}

void IdMap::restore(std::span<const std::int64_t> ids, bool numbered, std::int64_t next) {
  std::vector<std::int64_t> present;
  for (const std::int64_t id : ids) {
    if (id < -1 || (numbered && id >= next))
      throw std::invalid_argument("ids: expected ids, or -1 where they were removed, got " +
                                  std::to_string(id));
    if (id >= 0) present.push_back(id);
  }
  check_each_once(present);
  slots_ = Slots(places(ids.size()), kNoNode);
  ids_.resize(ids.size());
  for (const std::int64_t id : ids) {
    ids_[size_] = id;
    if (id >= 0) put(slots_, ids_, static_cast<std::uint32_t>(size_));
    ++size_;
  }
  stored_ = true;
  numbered_ = numbered;
  next_ = next;
}

}  // namespace whimbrel
