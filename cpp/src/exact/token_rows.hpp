// What stands behind TokenStore: rows of one type in blocks that never move, and where documents begin.
#pragma once

#include <cstdint>
#include <shared_mutex>
#include <span>
#include <vector>

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

  std::size_t dim;
  TokenType type;
  BlockRows<float> floats;
  BlockRows<std::uint16_t> halves;
  BlockRows<std::int8_t> bytes;
  BlockRows<float> scales;  // of bytes
  std::vector<std::int64_t> offsets{0};
  mutable std::shared_mutex mutex;
};

/// The documents of a store, for as long as its lock is held.
class StoredDocuments final : public Documents {
 public:
  explicit StoredDocuments(const TokenStore::Impl& store)
      : Documents(store.offsets, store.dim), store_(store) {}

  const float* in_place(std::size_t first, std::size_t n) const override {
    if (store_.type != TokenType::kFloat32 || first + n > store_.floats.size()) return nullptr;
    const std::uint32_t shift = store_.floats.shift();
    return n > 0 && first >> shift != (first + n - 1) >> shift ? nullptr : store_.floats.row(first);
  }
  std::size_t stride() const override { return store_.dim; }
  void copy(std::size_t first, std::size_t n, float* out) const override { store_.widen(first, n, out); }
  void prefetch(std::size_t first, std::size_t n) const override {
    for (std::size_t i = first; i < first + n; ++i) {
      if (i < store_.floats.size()) prefetch_row(store_.floats.row(i), dim());
      if (i < store_.halves.size()) prefetch_row(store_.halves.row(i), dim());
      if (i < store_.bytes.size()) prefetch_row(store_.bytes.row(i), dim());
    }
  }
  void check_values() const override {}  // they were looked at when they came

 private:
  const TokenStore::Impl& store_;
};

}  // namespace whimbrel
