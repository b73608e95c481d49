// Memory of the current device that frees itself.
#pragma once

#include <cstddef>
#include <utility>

#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::cuda {

/// `bytes` of device memory, aligned to 256, contents unspecified. Freeing waits for the device (as cudaFree
/// does): for what lives long, not for the scratch of a single call.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// @throws CudaError  cudaErrorMemoryAllocation with the bytes wanted and the bytes free, or another
  explicit DeviceBuffer(std::size_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer();

  template <class T = void>
  T* data() const noexcept {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace whimbrel::cuda
