#include "cur/features.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/half.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

using kernels::Half;

constexpr float kMaxHalf = 65504.0f;

/// A canonical sum has 32 lanes, and a row of any type then fills whole cache lines.
constexpr std::size_t kStrideUnit = 32;

std::variant<BlockRows<float>, BlockRows<Half>> make_rows(std::size_t stride, CurStorage storage) {
  if (storage == CurStorage::kFloat16) return BlockRows<Half>(stride);
  return BlockRows<float>(stride);
}

}  // namespace

ItemFeatures::ItemFeatures(std::size_t dim, CurStorage storage)
    : table_(&kernels::active_table()),
      dim_(dim),
      stride_(round_up(std::max<std::size_t>(dim, 1), kStrideUnit)),
      rows_(make_rows(stride_, storage)) {
  const std::size_t block = std::size_t{1}
                            << std::visit([](const auto& rows) { return rows.shift(); }, rows_);
  chunk_rows_ = std::min(kChunkRows, block);
}

std::size_t ItemFeatures::size() const noexcept {
  return std::visit([](const auto& rows) { return rows.size(); }, rows_);
}

std::size_t ItemFeatures::row_bytes() const noexcept {
  return stride_ * (std::holds_alternative<BlockRows<float>>(rows_) ? sizeof(float) : sizeof(Half));
}

void ItemFeatures::resize(std::size_t rows) {
  std::visit([&](auto& r) { r.resize(rows); }, rows_);
}

void ItemFeatures::set_row(std::size_t i, const float* values) {
  if (auto* rows = std::get_if<BlockRows<float>>(&rows_)) {
    float* row = rows->row(i);
    std::copy_n(values, dim_, row);
    std::fill(row + dim_, row + stride_, 0.0f);
    return;
  }
  Half* row = std::get<BlockRows<Half>>(rows_).row(i);
  for (std::size_t j = 0; j < dim_; ++j) {
    if (!(std::abs(values[j]) <= kMaxHalf))
      throw std::invalid_argument(
          "anchor_scores: expected centered values within +-65504 for storage \"f16\", got " +
          std::to_string(values[j]) + " for item " + std::to_string(i));
    row[j] = {to_half(values[j])};
  }
  std::fill(row + dim_, row + stride_, Half{});
}

void ItemFeatures::row(std::size_t i, float* out) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) {
    std::copy_n(rows->row(i), dim_, out);
  } else {
    table_->widen_f16(&std::get<BlockRows<Half>>(rows_).row(i)->bits, dim_, out);
  }
}

void ItemFeatures::dots(const float* query, std::size_t first, std::size_t n, float* out) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) {
    table_->dot_rows(query, stride_, rows->row(first), stride_, n, out);
  } else {
    table_->dot_rows_f16(query, stride_, std::get<BlockRows<Half>>(rows_).row(first), stride_, n, out);
  }
}

const float* ItemFeatures::floats(std::size_t first, std::size_t n, float* scratch) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) return rows->row(first);
  table_->widen_f16(&std::get<BlockRows<Half>>(rows_).row(first)->bits, n * stride_, scratch);
  return scratch;
}

std::span<const std::byte> ItemFeatures::stored(std::size_t first, std::size_t n) const {
  return std::visit([&](const auto& rows) { return std::as_bytes(std::span(rows.row(first), n * stride_)); },
                    rows_);
}

std::span<std::byte> ItemFeatures::stored(std::size_t first, std::size_t n) {
  return std::visit(
      [&](auto& rows) { return std::as_writable_bytes(std::span(rows.row(first), n * stride_)); }, rows_);
}

bool ItemFeatures::valid(std::size_t i) const {
  // An exponent of all ones is infinite or no number; padding is zero in its bits.
  const auto good = [this](const auto* bits, auto exponent) {
    for (std::size_t j = 0; j < stride_; ++j)
      if (j < dim_ ? (bits[j] & exponent) == exponent : bits[j] != 0) return false;
    return true;
  };
  const std::span<const std::byte> bytes = stored(i, 1);
  if (std::holds_alternative<BlockRows<Half>>(rows_))
    return good(reinterpret_cast<const std::uint16_t*>(bytes.data()), std::uint16_t{0x7c00});
  return good(reinterpret_cast<const std::uint32_t*>(bytes.data()), std::uint32_t{0x7f800000});
}

}  // namespace whimbrel
