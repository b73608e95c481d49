// A run of memory cut into aligned arrays; from null, the bytes it takes.
#pragma once

#include <cstddef>

namespace whimbrel::cuda {

class Arena {
 public:
  explicit Arena(void* begin) : begin_(static_cast<unsigned char*>(begin)) {}

  /// n values of T; null in an arena from null.
  template <class T>
  T* take(std::size_t n) {
    constexpr std::size_t kAlignment = 256;
    unsigned char* place = begin_ == nullptr ? nullptr : begin_ + used_;
    used_ += (n * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(place);
  }
  std::size_t used() const { return used_; }

 private:
  unsigned char* begin_;
  std::size_t used_ = 0;
};

}  // namespace whimbrel::cuda
