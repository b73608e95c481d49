#include "cur/features.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "base/half.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

using kernels::Half;

using Rows = std::variant<BlockRows<float>, BlockRows<Half>, BlockRows<std::int8_t>>;

constexpr float kMaxHalf = 65504.0f;
constexpr float kMaxCode = 127.0f;

/// A canonical sum has 32 lanes, and a row of floats then fills whole cache lines.
constexpr std::size_t kStrideUnit = 32;

Rows make_rows(std::size_t stride, CurStorage storage) {
  if (storage == CurStorage::kFloat16) return BlockRows<Half>(stride);
  if (storage == CurStorage::kInt8) return BlockRows<std::int8_t>(stride);
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
  return std::visit([this](const auto& rows) { return stride_ * sizeof(*rows.row(0)); }, rows_);
}

void ItemFeatures::resize(std::size_t rows) {
  std::visit([&](auto& r) { r.resize(rows); }, rows_);
  if (std::holds_alternative<BlockRows<std::int8_t>>(rows_)) scales_.resize(rows);
}

void ItemFeatures::set_row(std::size_t i, const float* values) {
  const bool half = std::holds_alternative<BlockRows<Half>>(rows_);
  const float limit = half ? kMaxHalf : std::numeric_limits<float>::max();
  float largest = 0;
  for (std::size_t j = 0; j < dim_; ++j) {
    if (!(std::abs(values[j]) <= limit))
      throw std::invalid_argument("anchor_scores: expected centered values within +-" +
                                  std::string(half ? "65504 for storage \"f16\"" : "3.4e38") + ", got " +
                                  std::to_string(values[j]) + " for item " + std::to_string(i));
    largest = std::max(largest, std::abs(values[j]));
  }
  if (auto* floats = std::get_if<BlockRows<float>>(&rows_)) {
    std::fill(std::copy_n(values, dim_, floats->row(i)), floats->row(i) + stride_, 0.0f);
  } else if (half) {
    Half* row = std::get<BlockRows<Half>>(rows_).row(i);
    std::transform(values, values + dim_, row, [](float v) { return Half{to_half(v)}; });
    std::fill(row + dim_, row + stride_, Half{});
  } else {
    std::int8_t* row = std::get<BlockRows<std::int8_t>>(rows_).row(i);
    // Of a row of the smallest numbers nothing is left.
    const float unit = largest / kMaxCode, scale = unit >= std::numeric_limits<float>::min() ? unit : 0.0f;
    scales_[i] = scale;
    std::transform(values, values + dim_, row, [scale](float v) {
      return static_cast<std::int8_t>(scale > 0 ? std::clamp(std::nearbyint(v / scale), -kMaxCode, kMaxCode)
                                                : 0.0f);
    });
    std::fill(row + dim_, row + stride_, std::int8_t{0});
  }
}

void ItemFeatures::row(std::size_t i, float* out) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) {
    std::copy_n(rows->row(i), dim_, out);
  } else if (const auto* halves = std::get_if<BlockRows<Half>>(&rows_)) {
    table_->widen_f16(&halves->row(i)->bits, dim_, out);
  } else {
    table_->widen_i8(std::get<BlockRows<std::int8_t>>(rows_).row(i), scales_[i], dim_, out);
  }
}

void ItemFeatures::dots(const float* query, std::size_t first, std::size_t n, float* out) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) {
    table_->dot_rows(query, stride_, rows->row(first), stride_, n, out);
  } else if (const auto* halves = std::get_if<BlockRows<Half>>(&rows_)) {
    table_->dot_rows_f16(query, stride_, halves->row(first), stride_, n, out);
  } else {
    table_->dot_rows_i8(query, stride_, std::get<BlockRows<std::int8_t>>(rows_).row(first), stride_, n, out);
    for (std::size_t r = 0; r < n; ++r) out[r] *= scales_[first + r];
  }
}

const float* ItemFeatures::floats(std::size_t first, std::size_t n, float* scratch) const {
  if (const auto* rows = std::get_if<BlockRows<float>>(&rows_)) return rows->row(first);
  if (const auto* halves = std::get_if<BlockRows<Half>>(&rows_)) {
    table_->widen_f16(&halves->row(first)->bits, n * stride_, scratch);
  } else {
    const auto& codes = std::get<BlockRows<std::int8_t>>(rows_);
    for (std::size_t r = 0; r < n; ++r)
      table_->widen_i8(codes.row(first + r), scales_[first + r], stride_, scratch + r * stride_);
  }
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
  const std::span<const std::byte> bytes = stored(i, 1);
  // Padding is zero in its bits; `bad` are those of no value.
  const auto good = [this](const auto* bits, auto mask, auto bad) {
    for (std::size_t j = 0; j < stride_; ++j)
      if (j < dim_ ? (bits[j] & mask) == bad : bits[j] != 0) return false;
    return true;
  };
  // An exponent of all ones is infinite or no number; -128 would not be symmetric.
  if (std::holds_alternative<BlockRows<Half>>(rows_))
    return good(reinterpret_cast<const std::uint16_t*>(bytes.data()), 0x7c00, 0x7c00);
  if (std::holds_alternative<BlockRows<std::int8_t>>(rows_))
    return good(reinterpret_cast<const std::uint8_t*>(bytes.data()), 0xff, 0x80) &&
           std::isfinite(scales_[i]) && scales_[i] >= 0;
  return good(reinterpret_cast<const std::uint32_t*>(bytes.data()), 0x7f800000u, 0x7f800000u);
}

}  // namespace whimbrel
