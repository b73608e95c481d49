// The GPU kernels against the canonical kernel of the CPU, bit for bit. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/cuda/normalize.hpp"
#include "whimbrel/cuda/pairwise_distance.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

bool have_device() {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0) return true;
  MESSAGE("not run: no CUDA device");
  return false;
}

/// Floats in [-1, 1), some of them tiny, in device memory.
class DeviceRows {
 public:
  DeviceRows(std::size_t rows, std::size_t dim, std::uint64_t seed)
      : host(rows * dim), rows_(rows), dim_(dim) {
    for (std::size_t i = 0; i < host.size(); ++i) {
      const auto bits = static_cast<std::int32_t>(random_bits(seed, RandomPurpose::kInsertionOrder, i));
      host[i] = static_cast<float>(bits) * (i % 7 == 0 ? 0x1p-100f : 0x1p-31f);
    }
    REQUIRE(cudaMalloc(&device_, host.size() * sizeof(float) + 1) == cudaSuccess);
    upload();
  }
  DeviceRows(const DeviceRows&) = delete;
  DeviceRows& operator=(const DeviceRows&) = delete;
  ~DeviceRows() { cudaFree(device_); }

  MatrixView<const float> view() const { return {static_cast<const float*>(device_), rows_, dim_}; }
  float* data() { return static_cast<float*>(device_); }
  void upload() {
    REQUIRE(cudaMemcpy(device_, host.data(), host.size() * sizeof(float), cudaMemcpyHostToDevice) ==
            cudaSuccess);
  }
  void download() {
    REQUIRE(cudaMemcpy(host.data(), device_, host.size() * sizeof(float), cudaMemcpyDeviceToHost) ==
            cudaSuccess);
  }

  std::vector<float> host;

 private:
  void* device_ = nullptr;
  std::size_t rows_;
  std::size_t dim_;
};

TEST_CASE("distances of the GPU have the bits of the CPU") {
  if (!have_device()) return;
  constexpr std::size_t kData = 37, kQueries = 5;
  for (const std::size_t d : {1u, 31u, 32u, 33u, 63u, 100u, 128u, 768u, 1001u}) {
    const DeviceRows data(kData, d, 1), queries(kQueries, d, 2);
    DeviceRows out(kQueries, kData, 3);
    for (const Metric metric : {Metric::kL2, Metric::kIp}) {
      REQUIRE(cuda::launch_pairwise_distances(data.view(), queries.view(), metric, out.data(), nullptr) ==
              cudaSuccess);
      out.download();
      const auto canonical = kernels::metric_kernels(kernels::active_table(), metric).canonical;
      for (std::size_t q = 0; q < kQueries; ++q)
        for (std::size_t r = 0; r < kData; ++r) {
          const float expected = canonical(&queries.host[q * d], &data.host[r * d], d);
          CHECK(std::bit_cast<std::uint32_t>(out.host[q * kData + r]) ==
                std::bit_cast<std::uint32_t>(expected));
        }
    }
  }
}

TEST_CASE("normalized rows of the GPU have the bits of the CPU") {
  if (!have_device()) return;
  constexpr std::size_t kRows = 69;
  for (const std::size_t d : {1u, 7u, 8u, 31u, 100u, 769u}) {
    DeviceRows rows(kRows, d, 4), out(kRows, d, 5);
    std::fill_n(rows.host.begin() + static_cast<std::ptrdiff_t>(3 * d), d, 0.0f);
    rows.upload();
    REQUIRE(cuda::launch_normalize(rows.view(), out.data(), nullptr) == cudaSuccess);
    out.download();
    std::vector<float> expected(d);
    for (std::size_t i = 0; i < kRows; ++i) {
      normalize(&rows.host[i * d], d, expected.data());
      for (std::size_t j = 0; j < d; ++j)
        CHECK(std::bit_cast<std::uint32_t>(out.host[i * d + j]) == std::bit_cast<std::uint32_t>(expected[j]));
    }
  }
}

TEST_CASE("the GPU refuses other shapes, and does nothing for nothing") {
  const MatrixView<const float> none(nullptr, 0, 3), other(nullptr, 1, 4);
  CHECK(cuda::launch_pairwise_distances(none, none, Metric::kL2, nullptr, nullptr) == cudaSuccess);
  CHECK(cuda::launch_normalize(none, nullptr, nullptr) == cudaSuccess);
  CHECK(cuda::launch_pairwise_distances(none, other, Metric::kL2, nullptr, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace whimbrel
