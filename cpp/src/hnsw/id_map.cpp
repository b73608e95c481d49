#include "hnsw/id_map.hpp"

#include <bit>
#include <stdexcept>
#include <string>

#include "hnsw/graph.hpp"

namespace whimbrel {

std::size_t IdMap::slot_of(std::int64_t id) const noexcept {
  return mix64(static_cast<std::uint64_t>(id)) & (slots_.size() - 1);
}

std::optional<std::uint32_t> IdMap::find(std::int64_t id) const noexcept {
  if (!explicit_) {
    if (id < 0 || static_cast<std::uint64_t>(id) >= size_) return std::nullopt;
    return static_cast<std::uint32_t>(id);
  }
  for (std::size_t s = slot_of(id); slots_[s] != kNoNode; s = (s + 1) & (slots_.size() - 1))
    if (ids_[slots_[s]] == id) return slots_[s];
  return std::nullopt;
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
  for (std::size_t row = 0; row < size_; ++row) put(static_cast<std::uint32_t>(row));
}

void IdMap::append(std::size_t n, std::span<const std::int64_t> ids) {
  if (n == 0) return;
  if (ids.empty()) {
    if (explicit_)
      throw std::invalid_argument(
          "ids: expected one per vector, as for the vectors already in the index, got none");
    size_ += n;
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
  const bool was_explicit = explicit_;
  const std::size_t first = size_;
  try {
    if (!was_explicit) {  // the row numbers so far become ids like any other
      ids_.resize(first);
      for (std::size_t row = 0; row < first; ++row) ids_[row] = static_cast<std::int64_t>(row);
      explicit_ = true;
    }
    grow(first + n);
    ids_.resize(first + n);
    for (std::size_t i = 0; i < n; ++i) {
      if (find(ids[i]))
        throw std::invalid_argument("ids: expected each once, got " + std::to_string(ids[i]) + " twice");
      ids_[size_] = ids[i];
      put(static_cast<std::uint32_t>(size_++));
    }
  } catch (...) {
    truncate(first, was_explicit);
    throw;
  }
}

void IdMap::truncate(std::size_t size, bool explicit_ids) {
  size_ = size;
  explicit_ = explicit_ids;
  ids_.resize(explicit_ ? size : 0);
  // A table does not give single slots back; it is filled again. This happens only after a failure.
  if (!explicit_) {
    slots_ = CountedVector<std::uint32_t>();
    return;
  }
  slots_.assign(slots_.size(), kNoNode);
  for (std::size_t row = 0; row < size; ++row) put(static_cast<std::uint32_t>(row));
}

}  // namespace whimbrel
