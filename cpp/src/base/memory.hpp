// Rows that never move: storage that grows in blocks, so that a reader's pointer stays valid. And the account
// of the caller's hooks, on which these rows and the other arrays that grow with the data are counted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "whimbrel/hooks.hpp"

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

/// Bytes on the account of the hooks at the time, for as long as this lives; on none without hooks.
class Charge {
 public:
  Charge() = default;
  /// @throws MemoryLimitExceeded
  explicit Charge(std::size_t bytes);
  Charge(Charge&& other) noexcept
      : account_(other.account_), bytes_(std::exchange(other.bytes_, std::size_t{0})) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() { shrink(bytes_); }

  std::size_t bytes() const noexcept { return bytes_; }
  void shrink(std::size_t by) noexcept {
    if (account_ != nullptr && by > 0) account_->release(by);
    bytes_ -= by;
  }
  /// Take over what is on the same account. False if it is another one.
  bool absorb(Charge& other) noexcept {
    if (account_ != other.account_) return false;
    bytes_ += std::exchange(other.bytes_, std::size_t{0});
    return true;
  }

 private:
  MemoryAccount* account_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The bytes of what grows and shrinks at its end, maybe at the times of different accounts.
class Charges {
 public:
  /// @throws MemoryLimitExceeded, with nothing changed; never where it shrinks
  void resize(std::size_t bytes);

 private:
  std::vector<Charge> parts_;  // oldest first
};

/// Memory of the heap that is counted.
void* allocate_counted(std::size_t bytes);
void free_counted(void* p) noexcept;

template <class T>
struct CountedAllocator {
  using value_type = T;

  CountedAllocator() = default;
  template <class U>
  CountedAllocator(const CountedAllocator<U>&) noexcept {}

  T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(allocate_counted(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t) noexcept { free_counted(p); }
  friend bool operator==(const CountedAllocator&, const CountedAllocator&) noexcept { return true; }
};

/// For arrays that grow with the data.
template <class T>
using CountedVector = std::vector<T, CountedAllocator<T>>;

/// n rows of `stride` elements each. Contents of new rows are unspecified. T is trivial.
template <class T>
class BlockRows {
 public:
  explicit BlockRows(std::size_t stride) : stride_(stride) {
    while ((stride * sizeof(T) << (shift_ + 1)) <= kBlockBytes) ++shift_;
  }
  /// Rows that are somebody else's, one after another, and must outlive these. They are only read, and are
  /// not counted.
  BlockRows(const T* first, std::size_t rows, std::size_t stride)
      : stride_(stride), shift_(31), size_(rows), borrowed_(true), pointers_{const_cast<T*>(first)} {}

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

  /// Allocate what `resize(rows)` will take. Others may read meanwhile.
  void prepare(std::size_t rows) {
    if (borrowed_) return;
    for (std::size_t b = owners_.size() + spare_.size(); b << shift_ < rows; ++b)
      spare_.push_back(new_block(b, rows, size_ > 0));
  }

  /// `expected`: how far this will grow in the end, if known; only advice for huge pages. If it throws, the
  /// rows are as they were.
  void resize(std::size_t rows, std::size_t expected) {
    if (borrowed_) {  // fewer, then
      size_ = std::min(size_, rows);
      return;
    }
    charges_.resize(rows * stride_ * sizeof(T));
    try {
      resize_blocks(rows, expected);
    } catch (...) {
      resize_blocks(size_, size_);
      charges_.resize(bytes());
      throw;
    }
    size_ = rows;
  }

  bool borrowed() const noexcept { return borrowed_; }
  /// In use.
  std::size_t bytes() const noexcept { return size_ * stride_ * sizeof(T); }
  /// What is counted.
  std::size_t own_bytes() const noexcept { return borrowed_ ? 0 : bytes(); }

  /// fn(first row, number of rows) for runs of rows that are contiguous in memory.
  template <class Fn>
  void for_each_run(Fn fn) const {
    const std::size_t most =
        borrowed_ ? std::max<std::size_t>(1, kBlockBytes / (stride_ * sizeof(T))) : std::size_t{1} << shift_;
    for (std::size_t i = 0; i < size_; i += most) fn(row(i), std::min(size_ - i, most));
  }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{16} << 20;

  /// `grows`: rows that come bit by bit will fill the block in the end.
  Pages new_block(std::size_t block, std::size_t expected, bool grows) const {
    const std::size_t per_block = std::size_t{1} << shift_, row_bytes = stride_ * sizeof(T);
    const std::size_t used = grows ? per_block : std::min(per_block, expected - block * per_block);
    return allocate_pages(per_block * row_bytes, used * row_bytes);
  }

  void resize_blocks(std::size_t rows, std::size_t expected) {
    const std::size_t n_blocks = (rows + mask()) >> shift_;
    std::size_t taken = 0;
    while (owners_.size() < n_blocks) {
      owners_.reserve(owners_.size() + 1);
      pointers_.reserve(owners_.size() + 1);
      owners_.push_back(taken < spare_.size()
                            ? std::move(spare_[taken++])
                            : new_block(owners_.size(), expected, size_ > 0 && rows == expected));
      pointers_.push_back(static_cast<T*>(owners_.back().get()));
    }
    spare_.clear();
    owners_.resize(n_blocks);
    pointers_.resize(n_blocks);
  }

  std::size_t stride_;
  std::uint32_t shift_ = 0;
  std::size_t size_ = 0;
  bool borrowed_ = false;
  Charges charges_;
  std::vector<Pages> owners_, spare_;
  std::vector<T*> pointers_;
};

/// A fixed array aligned to cache lines, zero-filled.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t n)
      : charge_(n * sizeof(T)), pages_(allocate_pages(n * sizeof(T), n * sizeof(T))) {
    std::fill_n(data(), n, T{});
  }
  T* data() noexcept { return static_cast<T*>(pages_.get()); }
  const T* data() const noexcept { return static_cast<const T*>(pages_.get()); }
  T& operator[](std::size_t i) noexcept { return data()[i]; }
  const T& operator[](std::size_t i) const noexcept { return data()[i]; }

 private:
  Charge charge_;
  Pages pages_;
};

}  // namespace whimbrel
