// What MaxSim sees of the documents: rows of floats, whatever they are stored as.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.hpp"

namespace whimbrel {

class Documents {
 public:
  Documents(std::span<const std::int64_t> offsets, std::size_t dim) : offsets_(offsets), dim_(dim) {}
  Documents(const Documents&) = delete;
  Documents& operator=(const Documents&) = delete;
  virtual ~Documents() = default;

  std::size_t size() const noexcept { return offsets_.size() - 1; }
  std::size_t dim() const noexcept { return dim_; }
  std::size_t begin(std::size_t doc) const noexcept { return static_cast<std::size_t>(offsets_[doc]); }
  std::size_t length(std::size_t doc) const noexcept {
    return static_cast<std::size_t>(offsets_[doc + 1] - offsets_[doc]);
  }

  /// Token rows [first, first + n) where they are, `stride()` apart; null if they must be copied.
  virtual const float* in_place(std::size_t first, std::size_t n) const = 0;
  virtual std::size_t stride() const = 0;
  /// The same rows, dim() apart.
  virtual void copy(std::size_t first, std::size_t n, float* out) const = 0;
  /// Bring rows near, as far as they exist.
  virtual void prefetch(std::size_t first, std::size_t n) const = 0;
  /// Called when rows are so large that their norms overflow: throws if a value is not finite.
  virtual void check_values() const = 0;

 protected:
  template <class T>
  static void prefetch_row(const T* row, std::size_t dim) noexcept {
    for (std::size_t i = 0; i < dim; i += kCacheLine / sizeof(T)) __builtin_prefetch(row + i);
  }

 private:
  std::span<const std::int64_t> offsets_;
  std::size_t dim_;
};

}  // namespace whimbrel
