// The only conversions between numpy arrays and the views of the core.
//
// Arrays arrive with the right dtype and in C order: whimbrel/_arrays.py saw to it, and an argument bound
// with noconvert() is never copied in silence.
#pragma once

#include "module.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "whimbrel/matrix_view.hpp"
#include "whimbrel/ragged_view.hpp"
#include "whimbrel/vectors_view.hpp"

namespace whimbrel::python {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
MatrixView<const T> as_matrix(const Array<T>& array) {
  if (array.ndim() != 2)
    throw std::invalid_argument("array: expected 2 dimensions, got " + std::to_string(array.ndim()));
  return {array.data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

/// Rows that may lie apart from each other, each in one piece.
using StridedFloats = py::array_t<float, 0>;

inline MatrixView<const float> as_strided_matrix(const StridedFloats& array) {
  constexpr auto kItem = static_cast<py::ssize_t>(sizeof(float));
  if (array.ndim() == 2 && array.size() == 0)  // NumPy gives it any strides
    return {array.data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
  const bool good = array.ndim() == 2 && array.strides(1) == kItem && array.strides(0) % kItem == 0 &&
                    array.strides(0) >= array.shape(1) * kItem &&
                    reinterpret_cast<std::uintptr_t>(array.data()) % alignof(float) == 0;
  if (!good) throw std::invalid_argument("array: expected rows of float32 in one piece each");
  return {array.data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1)),
          static_cast<std::size_t>(array.strides(0) / kItem)};
}

/// Vectors in one of the dtypes that an index can hold.
inline VectorsView as_vectors(const py::array& array) {
  const auto as = [&]<class T>(T) { return as_matrix(py::reinterpret_borrow<Array<T>>(array)); };
  if (py::isinstance<Array<float>>(array)) return as(float());
  if (py::isinstance<Array<std::int8_t>>(array)) return as(std::int8_t());
  if (py::isinstance<Array<std::uint8_t>>(array)) return as(std::uint8_t());
  throw std::invalid_argument("array: expected float32, int8 or uint8 in C order");
}

template <class T>
std::span<const T> as_vector(const Array<T>& array) {
  if (array.ndim() != 1)
    throw std::invalid_argument("array: expected 1 dimension, got " + std::to_string(array.ndim()));
  return {array.data(), static_cast<std::size_t>(array.size())};
}

inline RaggedView as_ragged(const Array<float>& tokens, const Array<std::int64_t>& offsets) {
  return {as_matrix(tokens), as_vector(offsets)};
}

template <class T>
std::span<T> as_output(Array<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

template <class T>
Array<T> empty_vector(std::size_t size) {
  return Array<T>(static_cast<py::ssize_t>(size));
}

template <class T>
Array<T> empty_matrix(std::size_t rows, std::size_t cols) {
  return Array<T>({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(cols)});
}

template <class T>
Array<T> to_array(const std::vector<T>& values) {
  return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace whimbrel::python
