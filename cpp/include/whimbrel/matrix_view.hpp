// Non-owning row-major views: how every array enters and leaves the library.
#pragma once

#include <cstddef>
#include <span>

namespace whimbrel {

/// A row-major matrix of `rows` x `cols` elements whose rows start `stride` elements apart.
/// The view owns nothing; the caller keeps the memory alive for the duration of the call.
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_) noexcept
      : MatrixView(data_, rows_, cols_, cols_) {}
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_, std::size_t stride_) noexcept
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}

  T* row(std::size_t i) const noexcept { return data + i * stride; }
  std::span<T> row_span(std::size_t i) const noexcept { return {row(i), cols}; }
};

}  // namespace whimbrel
