// Arrays in device memory, as the Python layer describes them, to the views of the library. Nothing here owns
// memory: whimbrel/_device_arrays.py keeps the arrays alive and has checked shapes, types and devices.
#pragma once

#include "cuda_module.hpp"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel::python {

inline cudaStream_t as_stream(std::uintptr_t handle) {
  return reinterpret_cast<cudaStream_t>(handle);  // NOLINT(performance-no-int-to-ptr): a handle by contract
}

template <class T>
T* as_pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr): an address by contract
}

/// (address, rows, cols, elements between rows)
using MatrixTuple = std::tuple<std::uintptr_t, std::size_t, std::size_t, std::size_t>;

template <class T>
MatrixView<const T> as_device_matrix(const MatrixTuple& matrix) {
  const auto [address, rows, cols, stride] = matrix;
  return {as_pointer<const T>(address), rows, cols, stride};
}

/// Makes a device the current one of this thread, and the old one again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    cuda::check(cudaGetDevice(&before_), "current device");
    cuda::check(cudaSetDevice(device), "set device");
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() { cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

/// A stream of our own, for calls that return when their work is done.
class Stream {
 public:
  Stream() { cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace whimbrel::python
