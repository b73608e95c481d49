// The feature rows of the items in their storage type, and passes over all of them at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/memory.hpp"
#include "kernels/kernel_table.hpp"
#include "whimbrel/cur.hpp"

namespace whimbrel {

class ItemFeatures {
 public:
  /// Rows of one chunk lie one after another in memory; the unit of work of a pass.
  static constexpr std::size_t kChunkRows = 512;

  ItemFeatures(std::size_t dim, CurStorage storage);

  std::size_t size() const noexcept;
  std::size_t dim() const noexcept { return dim_; }
  /// Length of a row with its padding, which is zero: what queries of dots() must have.
  std::size_t stride() const noexcept { return stride_; }
  std::size_t row_bytes() const noexcept;
  std::size_t bytes() const noexcept { return size() * row_bytes() + scales_.size() * sizeof(float); }
  std::size_t chunks() const noexcept { return (size() + chunk_rows_ - 1) / chunk_rows_; }
  std::size_t chunk_rows() const noexcept { return chunk_rows_; }

  void resize(std::size_t rows);
  /// Round dim() values into row i. @throws std::invalid_argument if the storage cannot hold one
  void set_row(std::size_t i, const float* values);
  /// dim() values as stored.
  void row(std::size_t i, float* out) const;

  /// out[r] = query . row(first + r), canonical; the rows are of one chunk.
  void dots(const float* query, std::size_t first, std::size_t n, float* out) const;
  /// n rows of one chunk as floats, stride() apart: the rows themselves or, for a smaller type, widened into
  /// `scratch`.
  const float* floats(std::size_t first, std::size_t n, float* scratch) const;

  /// One factor per row for storage in int8, none otherwise.
  std::span<float> scales() noexcept { return scales_; }
  std::span<const float> scales() const noexcept { return scales_; }
  /// The stored bytes of rows [first, first + n) of one chunk.
  std::span<const std::byte> stored(std::size_t first, std::size_t n) const;
  std::span<std::byte> stored(std::size_t first, std::size_t n);
  /// Whether row i, whose bytes came from elsewhere, is finite and padded with zeros.
  bool valid(std::size_t i) const;

 private:
  const kernels::KernelTable* table_;
  std::size_t dim_, stride_, chunk_rows_;
  std::variant<BlockRows<float>, BlockRows<kernels::Half>, BlockRows<std::int8_t>> rows_;
  CountedVector<float> scales_;
};

}  // namespace whimbrel
