// TokenStore: the token vectors of a growing collection of documents, for scoring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "whimbrel/export.h"
#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

/// How a coordinate is stored. Scores are those of the stored, rounded vectors.
enum class TokenType : std::uint32_t {
  kFloat32 = 0,
  kFloat16 = 1,  ///< nearest even; 11 significant bits, magnitude up to 65504
  kInt8 = 2,     ///< one float32 scale per vector, its largest magnitude / 127
};

/// Documents are numbered 0, 1, ... in the order of addition and never change.
///
/// Thread safety: any number of `const` calls may run at once; `add` waits for them and excludes them.
class WHIMBREL_API TokenStore {
 public:
  /// @throws std::invalid_argument if dim = 0
  TokenStore(std::size_t dim, TokenType type);
  ~TokenStore();
  TokenStore(TokenStore&&) noexcept;
  TokenStore& operator=(TokenStore&&) noexcept;

  /// Append documents: all of them or, if it throws, none.
  /// @throws std::invalid_argument wrong columns or offsets, a non-finite value, one too large for float16
  /// @throws std::length_error more than 2^32 - 1 documents
  void add(const RaggedView& docs, std::size_t threads = 0);

  std::size_t dim() const noexcept;
  TokenType type() const noexcept;
  std::size_t size() const;
  std::size_t n_tokens() const;
  /// Vectors of document `doc`. @throws std::out_of_range
  std::size_t length(std::size_t doc) const;
  /// They themselves, (length, dim), widened to float. @throws std::out_of_range
  void get(std::size_t doc, float* out) const;
  /// Bytes of vectors, scales and offsets in use.
  std::size_t memory_usage() const;

  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }
  Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace whimbrel
