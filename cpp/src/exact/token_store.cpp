#include "whimbrel/token_store.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/half.hpp"
#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "base/vectors.hpp"
#include "exact/token_rows.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

constexpr float kMaxHalf = 65504.0f;
constexpr float kMaxCode = 127.0f;
constexpr std::size_t kRowsPerItem = 1024;

/// Codes of a row, and their scale.
float to_bytes(std::span<const float> row, std::int8_t* out) {
  float largest = 0;
  for (const float x : row) largest = std::max(largest, std::abs(x));
  const float scale = largest / kMaxCode;
  for (std::size_t i = 0; i < row.size(); ++i)
    // A largest value below 127 times the smallest float has no scale left; its codes are 0.
    out[i] = scale > 0
                 ? static_cast<std::int8_t>(std::clamp(std::nearbyint(row[i] / scale), -kMaxCode, kMaxCode))
                 : std::int8_t{0};
  return scale;
}

void check_half(MatrixView<const float> tokens, std::size_t threads) {
  parallel_for((tokens.rows + kRowsPerItem - 1) / kRowsPerItem, threads, [&](std::size_t item, std::size_t) {
    for (std::size_t i = item * kRowsPerItem; i < std::min(tokens.rows, (item + 1) * kRowsPerItem); ++i)
      for (const float x : tokens.row_span(i))
        if (!(std::abs(x) <= kMaxHalf))
          throw std::invalid_argument("docs: expected magnitudes up to 65504 for float16, got " +
                                      std::to_string(x) + " in row " + std::to_string(i));
  });
}

}  // namespace

void TokenStore::Impl::resize(std::size_t n_rows) {
  if (type == TokenType::kFloat32) floats.resize(n_rows);
  if (type == TokenType::kFloat16) halves.resize(n_rows);
  if (type == TokenType::kInt8) {
    bytes.resize(n_rows);
    scales.resize(n_rows);
  }
}

void TokenStore::Impl::truncate(std::size_t n_docs) {
  const std::unique_lock lock(mutex);
  offsets.resize(n_docs + 1);
  resize(static_cast<std::size_t>(offsets.back()));
}

void TokenStore::Impl::widen(std::size_t first, std::size_t n, float* out) const {
  const kernels::KernelTable& table = kernels::active_table();
  for (std::size_t i = first; i < first + n; ++i, out += dim) {
    if (type == TokenType::kFloat32) std::copy_n(row(floats, i), dim, out);
    if (type == TokenType::kFloat16) table.widen_f16(row(halves, i), dim, out);
    if (type == TokenType::kInt8) table.widen_i8(row(bytes, i), scales[i], dim, out);
  }
}

TokenStore::TokenStore(std::size_t dim, TokenType type) : impl_(std::make_unique<Impl>(dim, type)) {
  if (dim == 0) throw std::invalid_argument("dim: expected at least 1, got 0");
}
TokenStore::~TokenStore() = default;
TokenStore::TokenStore(TokenStore&&) noexcept = default;
TokenStore& TokenStore::operator=(TokenStore&&) noexcept = default;

void TokenStore::add(const RaggedView& docs, std::size_t threads) {
  Impl& s = *impl_;
  threads = resolve_threads(threads);
  check_cols("docs", docs.tokens, s.dim);
  check_ragged("docs", docs, threads);
  if (s.type == TokenType::kFloat16) check_half(docs.tokens, threads);

  const std::unique_lock lock(s.mutex);
  if (s.map) throw std::invalid_argument("docs: expected a store in memory, got one mapped from a file");
  const std::size_t old_docs = s.offsets.size() - 1;
  const auto old_rows = static_cast<std::size_t>(s.offsets.back());
  if (docs.size() > std::numeric_limits<std::uint32_t>::max() - old_docs)
    throw std::length_error("docs: expected at most 2^32 - 1 documents in all, got more");
  s.offsets.reserve(s.offsets.size() + docs.size());
  try {
    s.resize(old_rows + docs.tokens.rows);
    parallel_for((docs.tokens.rows + kRowsPerItem - 1) / kRowsPerItem, threads,
                 [&](std::size_t item, std::size_t) {
                   for (std::size_t i = item * kRowsPerItem;
                        i < std::min(docs.tokens.rows, (item + 1) * kRowsPerItem); ++i) {
                     const std::span<const float> row = docs.tokens.row_span(i);
                     const std::size_t to = old_rows + i;
                     if (s.type == TokenType::kFloat32) std::copy(row.begin(), row.end(), s.floats.row(to));
                     if (s.type == TokenType::kFloat16)
                       std::transform(row.begin(), row.end(), s.halves.row(to), to_half);
                     if (s.type == TokenType::kInt8) s.scales[to] = to_bytes(row, s.bytes.row(to));
                   }
                 });
  } catch (...) {
    s.resize(old_rows);
    throw;
  }
  for (std::size_t i = 1; i <= docs.size(); ++i)
    s.offsets.push_back(static_cast<std::int64_t>(old_rows) + docs.offsets[i]);
}

std::size_t TokenStore::dim() const noexcept { return impl_->dim; }
TokenType TokenStore::type() const noexcept { return impl_->type; }

std::size_t TokenStore::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->offsets.size() - 1;
}

std::size_t TokenStore::n_tokens() const {
  const std::shared_lock lock(impl_->mutex);
  return static_cast<std::size_t>(impl_->offsets.back());
}

std::size_t TokenStore::length(std::size_t doc) const {
  const std::shared_lock lock(impl_->mutex);
  const std::size_t n = impl_->offsets.size() - 1;
  if (doc >= n)
    throw std::out_of_range("doc: expected 0.." + std::to_string(n) + " (excluded), got " +
                            std::to_string(doc));
  return StoredDocuments(*impl_).length(doc);
}

void TokenStore::get(std::size_t doc, float* out) const {
  const std::size_t n = length(doc);  // documents never change
  const std::shared_lock lock(impl_->mutex);
  impl_->widen(StoredDocuments(*impl_).begin(doc), n, out);
}

std::size_t TokenStore::memory_usage() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->floats.bytes() + impl_->halves.bytes() + impl_->bytes.bytes() + impl_->scales.bytes() +
         impl_->offsets.size() * sizeof(std::int64_t);
}

}  // namespace whimbrel
