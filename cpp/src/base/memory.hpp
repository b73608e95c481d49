// Rows that never move: storage that grows in blocks, so that a reader's pointer stays valid.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace whimbrel {

inline constexpr std::size_t kCacheLine = 64;

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Cache-line aligned memory whose pages appear on first touch and go back to the system when freed. The
/// first `huge_bytes` of it ask for huge pages, which save a table walk on nearly every random row access;
/// the rest does not, since a huge page is resident whole.
struct PageDeleter {
  std::size_t mapped_bytes = 0;  // 0: from the heap
  void operator()(void* p) const noexcept;
};
using Pages = std::unique_ptr<void, PageDeleter>;
Pages allocate_pages(std::size_t bytes, std::size_t huge_bytes);

/// n rows of `stride` elements each. Contents of new rows are unspecified. T is trivial.
template <class T>
class BlockRows {
 public:
  explicit BlockRows(std::size_t stride) : stride_(stride) {
    while ((stride * sizeof(T) << (shift_ + 1)) <= kBlockBytes) ++shift_;
  }

  std::size_t size() const noexcept { return size_; }
  std::size_t stride() const noexcept { return stride_; }
  std::uint32_t shift() const noexcept { return shift_; }
  std::uint32_t mask() const noexcept { return (1u << shift_) - 1u; }
  const T* const* blocks() const noexcept { return pointers_.data(); }

  T* row(std::size_t i) noexcept { return pointers_[i >> shift_] + (i & mask()) * stride_; }
  const T* row(std::size_t i) const noexcept { return pointers_[i >> shift_] + (i & mask()) * stride_; }
  T& operator[](std::size_t i) noexcept { return *row(i); }
  const T& operator[](std::size_t i) const noexcept { return *row(i); }

  void resize(std::size_t rows) { resize(rows, rows); }

  /// `expected`: how far this will grow in the end, if known; only advice for huge pages.
  void resize(std::size_t rows, std::size_t expected) {
    const std::size_t per_block = std::size_t{1} << shift_, block_bytes = per_block * stride_ * sizeof(T);
    const std::size_t n_blocks = (rows + per_block - 1) >> shift_;
    // Rows that come bit by bit will fill the block in the end.
    const bool grows = size_ > 0 && rows == expected;
    while (owners_.size() < n_blocks) {
      const std::size_t used = std::min(per_block, expected - owners_.size() * per_block);
      Pages pages = allocate_pages(block_bytes, grows ? block_bytes : used * stride_ * sizeof(T));
      pointers_.reserve(owners_.size() + 1);
      owners_.push_back(std::move(pages));
      pointers_.push_back(static_cast<T*>(owners_.back().get()));
    }
    owners_.resize(n_blocks);
    pointers_.resize(n_blocks);
    size_ = rows;
  }

  std::size_t bytes() const noexcept { return size_ * stride_ * sizeof(T); }

  /// fn(first row, number of rows) for each run of rows that is contiguous in memory.
  template <class Fn>
  void for_each_run(Fn fn) const {
    for (std::size_t i = 0; i < size_; i += std::size_t{1} << shift_)
      fn(row(i), std::min(size_ - i, std::size_t{1} << shift_));
  }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{16} << 20;

  std::size_t stride_;
  std::uint32_t shift_ = 0;
  std::size_t size_ = 0;
  std::vector<Pages> owners_;
  std::vector<T*> pointers_;
};

/// A fixed array aligned to cache lines, zero-filled.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t n) : pages_(allocate_pages(n * sizeof(T), n * sizeof(T))) {
    std::fill_n(data(), n, T{});
  }
  T* data() noexcept { return static_cast<T*>(pages_.get()); }
  const T* data() const noexcept { return static_cast<const T*>(pages_.get()); }
  T& operator[](std::size_t i) noexcept { return data()[i]; }
  const T& operator[](std::size_t i) const noexcept { return data()[i]; }

 private:
  Pages pages_;
};

}  // namespace whimbrel
