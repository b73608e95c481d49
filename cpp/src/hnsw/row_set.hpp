// A set of row numbers: one bit each.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include "base/memory.hpp"

namespace whimbrel {

class RowSet {
 public:
  /// Room for the rows below n. Larger ones leave the set.
  void resize(std::size_t n) {
    words_.resize((n + 63) / 64);
    if (n % 64 != 0) words_.back() &= (std::uint64_t{1} << n % 64) - 1;
    count_ = 0;
    for (const std::uint64_t word : words_) count_ += static_cast<std::size_t>(std::popcount(word));
  }

  /// A copy with room for the rows below n, and no more than that.
  RowSet grown(std::size_t n) const {
    RowSet copy;
    copy.words_.reserve((n + 63) / 64);
    copy.words_ = words_;
    copy.resize(n);
    return copy;
  }

  std::size_t count() const noexcept { return count_; }
  std::size_t bytes() const noexcept { return words_.size() * sizeof(std::uint64_t); }
  bool contains(std::uint32_t row) const noexcept { return words_[row / 64] >> (row % 64) & 1; }

  void insert(std::uint32_t row) noexcept {
    std::uint64_t& word = words_[row / 64];
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    count_ += (word & bit) == 0;
    word |= bit;
  }
  /// Rows [first, end), of which none is in the set.
  void insert_new(std::size_t first, std::size_t end) noexcept {
    count_ += end - first;
    for (; first < end && first % 64 != 0; ++first) words_[first / 64] |= std::uint64_t{1} << first % 64;
    for (; first + 64 <= end; first += 64) words_[first / 64] = ~std::uint64_t{0};
    for (; first < end; ++first) words_[first / 64] |= std::uint64_t{1} << first % 64;
  }
  void erase(std::uint32_t row) noexcept {
    std::uint64_t& word = words_[row / 64];
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    count_ -= (word & bit) != 0;
    word &= ~bit;
  }

  /// fn(row) for every row of the set, in increasing order.
  template <class Fn>
  void for_each(Fn fn) const {
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::uint64_t word = words_[w]; word != 0; word &= word - 1)
        fn(static_cast<std::uint32_t>(w * 64 + static_cast<std::size_t>(std::countr_zero(word))));
  }

 private:
  CountedVector<std::uint64_t> words_;
  std::size_t count_ = 0;
};

}  // namespace whimbrel
