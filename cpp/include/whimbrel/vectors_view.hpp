// Rows of one of the types that an index can hold: what a MatrixView of it becomes in a call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// What the coordinates of vectors are.
enum class VectorType : std::uint32_t {
  kFloat32 = 0,
  kInt8 = 1,   ///< -128 to 127, a byte each: kept, compared and returned as they are
  kUint8 = 2,  ///< 0 to 255
};

/// Borrowed, as a MatrixView is.
class VectorsView {
 public:
  VectorsView(MatrixView<const float> m) noexcept : VectorsView(m, VectorType::kFloat32) {}
  VectorsView(MatrixView<const std::int8_t> m) noexcept : VectorsView(m, VectorType::kInt8) {}
  VectorsView(MatrixView<const std::uint8_t> m) noexcept : VectorsView(m, VectorType::kUint8) {}
  template <class T>
  VectorsView(const T* data_, std::size_t rows_, std::size_t cols_) noexcept
      : VectorsView(MatrixView<const T>(data_, rows_, cols_)) {}
  template <class T>
  VectorsView(const T* data_, std::size_t rows_, std::size_t cols_, std::size_t stride) noexcept
      : VectorsView(MatrixView<const T>(data_, rows_, cols_, stride)) {}

  const void* data;
  std::size_t rows;
  std::size_t cols;
  VectorType type;

  /// T: the one that `type` names.
  template <class T>
  MatrixView<const T> as() const noexcept {
    return {static_cast<const T*>(data), rows, cols, stride_};
  }

 private:
  template <class T>
  VectorsView(MatrixView<const T> m, VectorType type_) noexcept
      : data(m.data), rows(m.rows), cols(m.cols), type(type_), stride_(m.stride) {}

  std::size_t stride_;
};

}  // namespace whimbrel
