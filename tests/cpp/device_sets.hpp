// Sets of tokens for the device tests: random, on the device as they are stored, on the host as the floats
// they stand for.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/half.hpp"
#include "whimbrel/cuda/ragged_tokens.hpp"
#include "whimbrel/ragged_view.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel::testing {

inline bool have_device() {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0) return true;
  MESSAGE("not run: no CUDA device");
  return false;
}

/// Bytes on the device, each of them 0xff where nothing is copied: as floats not a number.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t n) {
    REQUIRE(cudaMalloc(&data_, n + 1) == cudaSuccess);
    REQUIRE(cudaMemset(data_, 0xff, n + 1) == cudaSuccess);
  }
  template <class T>
  explicit DeviceBytes(const std::vector<T>& values) : DeviceBytes(values.size() * sizeof(T)) {
    REQUIRE(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) ==
            cudaSuccess);
  }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  ~DeviceBytes() { cudaFree(data_); }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::vector<float> floats(std::size_t n) const {
    std::vector<float> out(n);
    REQUIRE(cudaMemcpy(out.data(), data_, n * sizeof(float), cudaMemcpyDeviceToHost) == cudaSuccess);
    return out;
  }

 private:
  void* data_ = nullptr;
};

inline float widen_half(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int significand = half & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(significand), -24)
                                        : std::ldexp(static_cast<float>(significand + 1024), exponent - 25);
  return half >> 15 != 0 ? -magnitude : magnitude;
}

enum class Kind { kPlain, kDuplicates, kSpread };

/// Sets of tokens of one type: on the device as they are, on the host as the floats they stand for.
class Sets {
 public:
  Sets(const std::vector<std::int64_t>& lengths, std::size_t dim, std::size_t padding, TokenType type,
       Kind kind, std::uint64_t seed)
      : type_(type), dim_(dim), stride_(dim + padding) {
    offsets_.push_back(0);
    for (const std::int64_t n : lengths) offsets_.push_back(offsets_.back() + n);
    const auto rows = static_cast<std::size_t>(offsets_.back());
    values_.resize(rows * dim);
    std::uint64_t index = 0;
    const auto uniform = [&] {
      const std::uint64_t bits = random_bits(seed, RandomPurpose::kInsertionOrder, index++);
      return static_cast<float>(static_cast<std::int32_t>(bits >> 32)) * 0x1p-31f;
    };
    for (std::size_t r = 0; r < rows; ++r) {
      const float draw = uniform();
      const float size = kind != Kind::kSpread ? 0.25f
                         : draw < -0.6f        ? 0
                                               : std::ldexp(1.0f, static_cast<int>(draw * 12));
      for (std::size_t i = 0; i < dim; ++i) values_[r * dim + i] = uniform() * size;
      if (kind == Kind::kDuplicates && r > 0 && draw > 0)
        std::copy_n(&values_[(r - 1) * dim], dim, &values_[r * dim]);
    }
    std::vector<std::uint16_t> halves(rows * stride_, 0x7e00);
    std::vector<std::int8_t> codes(rows * stride_, 99);
    std::vector<float> floats(rows * stride_, std::numeric_limits<float>::quiet_NaN()), scales(rows);
    for (std::size_t r = 0; r < rows; ++r) {
      float* row = &values_[r * dim];
      float largest = 0;
      for (std::size_t i = 0; i < dim; ++i) largest = std::max(largest, std::abs(row[i]));
      scales[r] = largest / 127;
      for (std::size_t i = 0; i < dim; ++i) {
        const std::size_t at = r * stride_ + i;
        if (type == TokenType::kFloat16) row[i] = widen_half(halves[at] = to_half(row[i]));
        if (type == TokenType::kInt8) {
          codes[at] = static_cast<std::int8_t>(largest > 0 ? std::lrint(row[i] / scales[r]) : 0);
          row[i] = static_cast<float>(codes[at]) * scales[r];
        }
        floats[at] = row[i];
      }
    }
    if (type == TokenType::kFloat32) device_data_ = std::make_unique<DeviceBytes>(floats);
    if (type == TokenType::kFloat16) device_data_ = std::make_unique<DeviceBytes>(halves);
    if (type == TokenType::kInt8) device_data_ = std::make_unique<DeviceBytes>(codes);
    device_scales_ = std::make_unique<DeviceBytes>(scales);
    device_offsets_ = std::make_unique<DeviceBytes>(offsets_);
  }

  std::size_t size() const { return offsets_.size() - 1; }
  RaggedView host() const {
    return {{values_.data(), static_cast<std::size_t>(offsets_.back()), dim_}, offsets_};
  }
  cuda::RaggedTokens device() const {
    cuda::RaggedTokens tokens;
    tokens.data = device_data_->as<void>();
    tokens.type = type_;
    tokens.rows = static_cast<std::size_t>(offsets_.back());
    tokens.dim = dim_;
    tokens.stride = stride_;
    tokens.scales = device_scales_->as<float>();
    tokens.offsets = device_offsets_->as<std::int64_t>();
    tokens.n_sets = size();
    return tokens;
  }

 private:
  TokenType type_;
  std::size_t dim_, stride_;
  std::vector<std::int64_t> offsets_;
  std::vector<float> values_;
  std::unique_ptr<DeviceBytes> device_data_, device_scales_, device_offsets_;
};

inline std::vector<std::int64_t> some_lengths(std::size_t n, std::int64_t most, std::uint64_t seed) {
  std::vector<std::int64_t> lengths(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t bits = random_bits(seed, RandomPurpose::kHnswLevel, i);
    lengths[i] = bits % 5 == 0 ? 0 : static_cast<std::int64_t>(bits >> 32) % (most + 1);
  }
  return lengths;
}

}  // namespace whimbrel::testing
