// What stands behind TokenStore: rows of one type in blocks that never move, and where documents begin.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/file_map.hpp"
#include "base/memory.hpp"
#include "exact/documents.hpp"
#include "whimbrel/token_store.hpp"

namespace whimbrel {

/// Only the rows of the type in use have any.
struct TokenStore::Impl {
  Impl(std::size_t dim_, TokenType type_)
      : dim(dim_), type(type_), floats(dim_), halves(dim_), bytes(dim_), scales(1) {}

  /// Token rows [first, first + n) as floats.
  void widen(std::size_t first, std::size_t n, float* out) const;
  void resize(std::size_t n_rows);
  /// Drop the documents from `n_docs` on.
  void truncate(std::size_t n_docs);

  /// A row where it is: in its block, or in the file.
  template <class T>
  const T* row(const BlockRows<T>& rows, std::size_t i) const noexcept {
    return map ? reinterpret_cast<const T*>(mapped) + i * dim : rows.row(i);
  }

  std::size_t dim;
  TokenType type;
  BlockRows<float> floats;
  BlockRows<std::uint16_t> halves;
  BlockRows<std::int8_t> bytes;
  BlockRows<float> scales;  // of bytes
  std::vector<std::int64_t> offsets{0};
  std::shared_ptr<const FileMap> map;  // of a file that has the token rows; none: they are in the blocks
  const std::byte* mapped = nullptr;   // the first of them, aligned
  mutable std::shared_mutex mutex;
};

/// The documents of a store, for as long as its lock is held.
class StoredDocuments final : public Documents {
 public:
  explicit StoredDocuments(const TokenStore::Impl& store)
      : Documents(store.offsets, store.dim), store_(store) {}

  const float* in_place(std::size_t first, std::size_t n) const override {
    if (store_.type != TokenType::kFloat32 || first + n > n_rows()) return nullptr;
    const std::uint32_t shift = store_.floats.shift();
    const bool split = !store_.map && n > 0 && first >> shift != (first + n - 1) >> shift;
    return split ? nullptr : store_.row(store_.floats, first);
  }
  std::size_t stride() const override { return store_.dim; }
  void copy(std::size_t first, std::size_t n, float* out) const override { store_.widen(first, n, out); }
  void prefetch(std::size_t first, std::size_t n) const override {
    for (std::size_t i = first; i < std::min(first + n, n_rows()); ++i) {
      if (store_.type == TokenType::kFloat32) prefetch_row(store_.row(store_.floats, i), dim());
      if (store_.type == TokenType::kFloat16) prefetch_row(store_.row(store_.halves, i), dim());
      if (store_.type == TokenType::kInt8) prefetch_row(store_.row(store_.bytes, i), dim());
    }
  }
  void check_values() const override {}  // they were looked at when they came

 private:
  std::size_t n_rows() const { return static_cast<std::size_t>(store_.offsets.back()); }

  const TokenStore::Impl& store_;
};

}  // namespace whimbrel
