// MaxSim of the GPU against that of the CPU, bit for bit. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/half.hpp"
#include "whimbrel/cuda/maxsim.hpp"
#include "whimbrel/maxsim.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

bool have_device() {
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

float widen_half(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int significand = half & 1023;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(significand), -24)
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
      const float size = kind != Kind::kSpread ? 0.25f : draw < -0.6f ? 0 : std::ldexp(1.0f, static_cast<int>(draw * 12));
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

std::size_t count_different(const std::vector<float>& a, const std::vector<float>& b) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    n += std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]);
  return n;
}

/// All scores, then those of lists, each with a roomy and with a small workspace.
void compare(const Sets& queries, const Sets& docs, bool normalize) {
  MaxSimParams params;
  params.normalize = normalize;
  const cuda::RaggedTokens q = queries.device(), d = docs.device();
  std::vector<float> expected(queries.size() * docs.size());
  maxsim_matrix(queries.host(), docs.host(), params, expected.data());
  const cuda::WorkspaceBytes bytes = cuda::maxsim_workspace_bytes(q, d);
  for (const std::size_t n : {bytes.best, (bytes.least + bytes.best) / 2}) {
    const DeviceBytes workspace(n), scores(expected.size() * sizeof(float));
    REQUIRE(cuda::launch_maxsim_matrix(q, d, normalize, scores.as<float>(), workspace.as<void>(), n,
                                       nullptr) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(count_different(scores.floats(expected.size()), expected) == 0);
  }

  std::vector<std::int64_t> offsets{0}, ids;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    longest = std::max(longest, queries.host()[i].rows);
    for (std::size_t j = 0; j < i % 7; ++j)
      ids.push_back(static_cast<std::int64_t>((i * 31 + j * 17) % (docs.size() + 1)) - 1);
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
  }
  const DeviceBytes device_offsets(offsets), device_ids(ids);
  const cuda::DeviceLists lists = {device_offsets.as<std::int64_t>(), device_ids.as<std::int64_t>(),
                                   ids.size(), longest};
  std::vector<float> listed(ids.size());
  maxsim_lists(queries.host(), docs.host(), {offsets, ids}, params, listed.data());
  const cuda::WorkspaceBytes list_bytes = cuda::maxsim_lists_workspace_bytes(q, d, lists);
  const DeviceBytes workspace(list_bytes.best), scores(listed.size() * sizeof(float));
  REQUIRE(cuda::launch_maxsim_lists(q, d, lists, normalize, scores.as<float>(), workspace.as<void>(),
                                    list_bytes.best, nullptr) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(count_different(scores.floats(listed.size()), listed) == 0);
}

std::vector<std::int64_t> some_lengths(std::size_t n, std::int64_t most, std::uint64_t seed) {
  std::vector<std::int64_t> lengths(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t bits = random_bits(seed, RandomPurpose::kHnswLevel, i);
    lengths[i] = bits % 5 == 0 ? 0 : static_cast<std::int64_t>(bits >> 32) % (most + 1);
  }
  return lengths;
}

TEST_CASE("MaxSim of the GPU has the bits of the CPU") {
  if (!have_device()) return;
  for (const TokenType query_type : {TokenType::kFloat32, TokenType::kFloat16})
    for (const TokenType doc_type : {TokenType::kFloat32, TokenType::kFloat16, TokenType::kInt8})
      for (const std::size_t dim : {1u, 20u, 64u, 96u, 100u, 128u, 300u, 768u})
        for (const std::size_t n_queries : {1u, 3u, 40u}) {
          CAPTURE(static_cast<int>(query_type));
          CAPTURE(static_cast<int>(doc_type));
          CAPTURE(dim);
          CAPTURE(n_queries);
          const Sets queries(some_lengths(n_queries, 32, dim), dim, 0, query_type, Kind::kPlain, 1);
          const Sets docs(some_lengths(400, 180, dim + 1), dim, 0, doc_type, Kind::kPlain, 2);
          compare(queries, docs, n_queries == 3);
        }
}

TEST_CASE("MaxSim of the GPU is exact for duplicates, zeros and lengths far apart") {
  if (!have_device()) return;
  for (const Kind kind : {Kind::kDuplicates, Kind::kSpread})
    for (const TokenType doc_type : {TokenType::kFloat32, TokenType::kFloat16, TokenType::kInt8}) {
      CAPTURE(static_cast<int>(kind));
      CAPTURE(static_cast<int>(doc_type));
      const Sets queries(some_lengths(9, 40, 5), 128, 0, TokenType::kFloat32, kind, 1);
      const Sets docs(some_lengths(60, 300, 6), 128, 0, doc_type, kind, 2);
      compare(queries, docs, false);
    }
}

TEST_CASE("MaxSim of the GPU takes long sets, and rows that are not aligned") {
  if (!have_device()) return;
  for (const TokenType doc_type : {TokenType::kFloat32, TokenType::kFloat16, TokenType::kInt8})
    for (const std::size_t padding : {0u, 3u}) {
      CAPTURE(static_cast<int>(doc_type));
      CAPTURE(padding);
      const Sets queries({1024, 0, 33}, 128, padding, TokenType::kFloat16, Kind::kPlain, 1);
      const Sets docs({5000, 0, 1, 2, 70000, 0}, 128, padding, doc_type, Kind::kPlain, 2);
      compare(queries, docs, false);
    }
}

TEST_CASE("MaxSim of the GPU refuses what it cannot do, and does nothing for nothing") {
  cuda::RaggedTokens queries, docs;
  queries.dim = docs.dim = 128;
  const cuda::WorkspaceBytes bytes = cuda::maxsim_workspace_bytes(queries, docs);
  CHECK(cuda::launch_maxsim_matrix(queries, docs, false, nullptr, nullptr, 0, nullptr) == cudaSuccess);
  queries.type = TokenType::kInt8;
  CHECK(cuda::launch_maxsim_matrix(queries, docs, false, nullptr, nullptr, bytes.best, nullptr) ==
        cudaErrorInvalidValue);
  queries.type = TokenType::kFloat32;
  queries.dim = 64;
  CHECK(cuda::launch_maxsim_matrix(queries, docs, false, nullptr, nullptr, bytes.best, nullptr) ==
        cudaErrorInvalidValue);
  queries.dim = docs.dim = cuda::kMaxTokenDim + 1;
  CHECK(cuda::launch_maxsim_matrix(queries, docs, false, nullptr, nullptr, bytes.best, nullptr) ==
        cudaErrorInvalidValue);
  queries.dim = docs.dim = 128;
  queries.n_sets = docs.n_sets = 1;
  CHECK(cuda::launch_maxsim_matrix(queries, docs, false, nullptr, nullptr, 0, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace whimbrel
