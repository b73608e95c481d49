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

std::size_t IdMap::slot_of(std::int64_t id) const noexcept {
  return mix64(static_cast<std::uint64_t>(id)) & (slots_.size() - 1);
}

std::optional<std::uint32_t> IdMap::find(std::int64_t id) const noexcept {
  if (id < 0) return std::nullopt;
  if (!stored_) {
    if (static_cast<std::uint64_t>(id) >= size_) return std::nullopt;
    return static_cast<std::uint32_t>(id);
  }
  for (std::size_t s = slot_of(id); slots_[s] != kNoNode; s = (s + 1) & (slots_.size() - 1))
    if (ids_[slots_[s]] == id) return slots_[s];
  return std::nullopt;
}

std::size_t IdMap::slot_with(std::uint32_t row) const noexcept {
  std::size_t s = slot_of(ids_[row]);
  while (slots_[s] != row) s = (s + 1) & (slots_.size() - 1);
  return s;
}

void IdMap::put(std::uint32_t row) noexcept {
  std::size_t s = slot_of(ids_[row]);
  while (slots_[s] != kNoNode) s = (s + 1) & (slots_.size() - 1);
  slots_[s] = row;
}

void IdMap::grow(std::size_t n_rows) {
  const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(16, n_rows * 4 / 3 + 1));
  if (wanted <= slots_.size()) return;
  slots_ = CountedVector<std::uint32_t>(wanted, kNoNode);
  for (std::size_t row = 0; row < size_; ++row)
    if (ids_[row] >= 0) put(static_cast<std::uint32_t>(row));
}

void IdMap::store() {
  if (stored_) return;
  try {
    ids_.resize(size_);
    for (std::size_t row = 0; row < size_; ++row) ids_[row] = static_cast<std::int64_t>(row);
    grow(size_);
  } catch (...) {
    give_back(false);
    throw;
  }
  next_ = static_cast<std::int64_t>(size_);
  stored_ = true;
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

void IdMap::prepare(std::size_t n, bool given) {
  if (given) store();
  if (!stored_) return;
  grow(size_ + n);
  ids_.resize(size_ + n);
}

void IdMap::give_back(bool stored) noexcept {
  stored_ = stored;
  ids_.resize(stored ? size_ : 0);
  if (!stored) slots_ = CountedVector<std::uint32_t>();
}

void IdMap::append(std::size_t n, std::span<const std::int64_t> ids) noexcept {
  if (!stored_) {
    size_ += n;
    return;
  }
  if (n > 0 && !ids.empty()) numbered_ = false;
  for (std::size_t i = 0; i < n; ++i) {
    ids_[size_] = ids.empty() ? next_++ : ids[i];
    put(static_cast<std::uint32_t>(size_++));
  }
}

void IdMap::append_in_place_of(std::span<const std::uint32_t> rows) noexcept {
  for (const std::uint32_t row : rows) {
    slots_[slot_with(row)] = static_cast<std::uint32_t>(size_);
    ids_[size_++] = ids_[row];
    ids_[row] = -1;
  }
}

void IdMap::erase(std::uint32_t row) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = slot_with(row);
  ids_[row] = -1;
  // Whoever stands behind the hole because it was taken moves up.
  for (std::size_t s = (hole + 1) & mask; slots_[s] != kNoNode; s = (s + 1) & mask) {
    const std::size_t home = slot_of(ids_[slots_[s]]);
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
  for (std::size_t row = 0; row < size_; ++row) put(static_cast<std::uint32_t>(row));
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
  grow(ids.size());
  ids_.resize(ids.size());
  for (const std::int64_t id : ids) {
    ids_[size_] = id;
    if (id >= 0) put(static_cast<std::uint32_t>(size_));
    ++size_;
  }
  stored_ = true;
  numbered_ = numbered;
  next_ = next;
}

}  // namespace whimbrel
