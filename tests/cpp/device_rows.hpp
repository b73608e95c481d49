// Rows for tests that run on a GPU.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/device_matrix.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel::cuda {

inline bool have_device() {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0) return true;
  MESSAGE("not run: no CUDA device");
  return false;
}

/// In [-1, 1).
inline float uniform(std::uint64_t seed, std::uint64_t i) {
  return static_cast<float>(static_cast<std::int32_t>(random_bits(seed, RandomPurpose::kInsertionOrder, i))) *
         0x1p-31f;
}
/// About normal.
inline float bell(std::uint64_t seed, std::uint64_t i) {
  float sum = 0;
  for (std::uint64_t j = 0; j < 4; ++j) sum += uniform(seed, 4 * i + j);
  return sum;
}

/// Values of an element type, and the floats they equal.
struct HostRows {
  std::vector<unsigned char> bytes;
  std::vector<float> floats;
  ElementType type = ElementType::kF32;
  std::size_t rows = 0, dim = 0;

  HostRows() = default;
  HostRows(const std::vector<float>& values, std::size_t dim_, ElementType type_)
      : floats(values), type(type_), rows(values.size() / dim_), dim(dim_) {
    bytes.resize(values.size() * element_bytes(type));
    for (std::size_t i = 0; i < values.size(); ++i) put(i, values[i]);
  }
  MatrixView<const float> view() const { return {floats.data(), rows, dim}; }
  DeviceRows host() const { return {bytes.data(), type, rows, dim, dim}; }

 private:
  template <class T>
  void store(std::size_t i, T value) {
    reinterpret_cast<T*>(bytes.data())[i] = value;
  }
  void put(std::size_t i, float value) {
    if (type == ElementType::kF32) {
      store(i, value);
    } else if (type == ElementType::kF16) {
      const __half h = __float2half(value);
      store(i, h);
      floats[i] = __half2float(h);
    } else if (type == ElementType::kBf16) {
      const __nv_bfloat16 b = __float2bfloat16(value);
      store(i, b);
      floats[i] = __bfloat162float(b);
    } else {
      const auto n = static_cast<std::int8_t>(std::lround(std::fmin(127.0f, std::fmax(-128.0f, value))));
      store(i, n);
      floats[i] = n;
    }
  }
};

/// A copy in device memory.
class OnDevice {
 public:
  explicit OnDevice(const HostRows& host) : buffer_(host.bytes.size()), host_(host.host()) {
    if (host.bytes.empty()) return;
    REQUIRE(cudaMemcpy(buffer_.data(), host.bytes.data(), host.bytes.size(), cudaMemcpyHostToDevice) ==
            cudaSuccess);
  }
  DeviceRows rows() const { return {buffer_.data(), host_.type, host_.rows, host_.cols, host_.stride}; }

 private:
  DeviceBuffer buffer_;
  DeviceRows host_;
};

template <class T>
std::vector<T> fetch(const DeviceBuffer& buffer, std::size_t n) {
  std::vector<T> out(n);
  if (n > 0)
    REQUIRE(cudaMemcpy(out.data(), buffer.data(), n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
  return out;
}

}  // namespace whimbrel::cuda
