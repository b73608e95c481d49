// The encoder of the GPU against that of the CPU: the same cells, and coordinates that differ by rounding.
// Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device_sets.hpp"
#include "whimbrel/cuda/fde_encoder.hpp"
#include "whimbrel/fde.hpp"

namespace whimbrel {
namespace {

using namespace testing;

FdeParams make_params(std::size_t dim, std::uint32_t k_sim, std::uint32_t r_reps, FdeProjection projection,
                      std::size_t d_proj, std::size_t d_final = 0) {
  FdeParams params;
  params.dim = dim;
  params.k_sim = k_sim;
  params.r_reps = r_reps;
  params.projection = projection;
  params.d_proj = d_proj;
  params.d_final = d_final;
  params.seed = 5;
  return params;
}

/// @param size  of the largest coordinates, if they are large
void compare(const FdeParams& params, const Sets& sets, bool documents, float size = 0) {
  const whimbrel::FdeEncoder cpu(params);
  const cuda::FdeEncoder gpu(params);
  REQUIRE(gpu.dim_out() == cpu.dim_out());
  const std::size_t n = sets.size() * cpu.dim_out(), n_tokens = sets.host().tokens.rows;
  std::vector<float> expected(n);
  FdeOutput cpu_out;
  cpu_out.f32 = expected.data();
  if (documents)
    cpu.encode_documents(sets.host(), {}, cpu_out);
  else
    cpu.encode_queries(sets.host(), {}, cpu_out);
  std::vector<std::uint32_t> cells(params.r_reps * n_tokens);
  cpu.partitions(sets.host().tokens, 0, cells.data());

  // A workspace for fewer sets than there are.
  const std::size_t bytes = gpu.workspace_bytes(sets.size() / 2 + 1);
  const DeviceBytes workspace(bytes), f32(n * sizeof(float)), f16(n * sizeof(std::uint16_t)),
      partitions(cells.size() * sizeof(std::uint32_t));
  const auto launch = [&](const cuda::FdeDeviceOutput& out) {
    REQUIRE((documents ? gpu.launch_documents(sets.device(), out, workspace.as<void>(), bytes, nullptr)
                       : gpu.launch_queries(sets.device(), out, workspace.as<void>(), bytes, nullptr)) ==
            cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  };
  launch({f32.as<float>(), nullptr, partitions.as<std::uint32_t>()});
  launch({nullptr, f16.as<std::uint16_t>(), nullptr});

  std::vector<std::uint32_t> device_cells(cells.size());
  REQUIRE(cudaMemcpy(device_cells.data(), partitions.as<void>(), cells.size() * sizeof(std::uint32_t),
                     cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(device_cells == cells);
  std::vector<std::uint16_t> halves(n);
  REQUIRE(cudaMemcpy(halves.data(), f16.as<void>(), n * sizeof(std::uint16_t), cudaMemcpyDeviceToHost) ==
          cudaSuccess);
  const std::vector<float> floats = f32.floats(n);
  std::size_t n_far = 0, n_wrong_halves = 0;
  for (std::size_t i = 0; i < n; ++i) {
    n_far += !(std::abs(floats[i] - expected[i]) <= 1e-5f * (1 + size + std::abs(expected[i])));
    n_wrong_halves += halves[i] != to_half(floats[i]);
  }
  CHECK(n_far == 0);
  CHECK(n_wrong_halves == 0);
}

TEST_CASE("encodings of the GPU have the cells of the CPU and its coordinates up to rounding") {
  if (!have_device()) return;
  constexpr auto kSketch = FdeProjection::kCountSketch;
  std::vector<FdeParams> list = {
      make_params(128, 5, 20, kSketch, 16),
      make_params(128, 4, 10, FdeProjection::kSign, 8),
      make_params(96, 3, 2, FdeProjection::kIdentity, 0),
      make_params(64, 0, 2, kSketch, 20),
      make_params(100, 6, 4, kSketch, 5, 40),
      make_params(128, 5, 45, kSketch, 16),
      make_params(256, 9, 2, kSketch, 3),
      make_params(768, 4, 5, kSketch, 32),
  };
  list.push_back(make_params(128, 3, 4, kSketch, 7));
  list.back().mode = FdeMode::kGoogle;
  list.push_back(make_params(128, 5, 20, kSketch, 16));
  list.back().fill_empty = false;
  // Repetitions that share a tile of coordinates, or begin in the middle of one, and those that take several.
  list.push_back(make_params(128, 4, 21, kSketch, 8));
  list.push_back(make_params(40, 5, 9, FdeProjection::kSign, 24));
  list.push_back(make_params(128, 2, 31, kSketch, 40));
  list.push_back(make_params(128, 0, 3, kSketch, 16));
  list.push_back(make_params(128, 3, 4, kSketch, 16));
  list.back().mode = FdeMode::kGoogle;
  list.push_back(make_params(128, 5, 20, kSketch, 8, 1000));
  for (std::size_t i = 0; i < 128; ++i) list.back().center.push_back(static_cast<float>(i % 7) * 0.01f);
  for (const FdeParams& params : list)
    for (const TokenType type : {TokenType::kFloat32, TokenType::kFloat16})
      for (const bool documents : {true, false})
        for (const Kind kind : {Kind::kPlain, Kind::kDuplicates}) {
          CAPTURE(params.dim);
          CAPTURE(params.r_reps);
          CAPTURE(params.k_sim);
          CAPTURE(static_cast<int>(type));
          CAPTURE(documents);
          compare(params, Sets(some_lengths(50, 150, params.dim), params.dim, 0, type, kind, 3), documents);
        }
}

TEST_CASE("encodings of the GPU take long sets, rows that are not aligned, and vectors long and short") {
  if (!have_device()) return;
  for (const TokenType type : {TokenType::kFloat32, TokenType::kFloat16})
    for (const bool documents : {true, false}) {
      CAPTURE(static_cast<int>(type));
      const FdeParams params = make_params(128, 5, 20, FdeProjection::kCountSketch, 16);
      compare(params, Sets({1000, 0, 129, 1, 128, 300, 64, 65}, 128, 3, type, Kind::kPlain, 3), documents);
      compare(params, Sets({500, 20, 200}, 128, 0, type, Kind::kSpread, 4), documents, 4096);
    }
}

TEST_CASE("one small encoding of the GPU, for tools that slow it down") {
  if (!have_device()) return;
  const FdeParams params = make_params(128, 4, 5, FdeProjection::kCountSketch, 16);
  compare(params, Sets({150, 0, 3, 20}, 128, 0, TokenType::kFloat16, Kind::kDuplicates, 3), true);
}

TEST_CASE("the encoder of the GPU refuses what it cannot do") {
  if (!have_device()) return;
  CHECK_THROWS_AS(cuda::FdeEncoder(make_params(128, 10, 2, FdeProjection::kCountSketch, 4)),
                  std::length_error);
  const cuda::FdeEncoder encoder(make_params(128, 5, 2, FdeProjection::kCountSketch, 4, 32));
  const DeviceBytes out(100000);
  const Sets sets({3, 4}, 128, 0, TokenType::kFloat32, Kind::kPlain, 1);
  const Sets narrow({3, 4}, 64, 0, TokenType::kFloat32, Kind::kPlain, 1);
  const Sets codes({3, 4}, 128, 0, TokenType::kInt8, Kind::kPlain, 1);
  const cuda::FdeDeviceOutput none, floats = {out.as<float>(), nullptr, nullptr};
  const std::size_t bytes = encoder.workspace_bytes(1);
  CHECK(encoder.launch_documents(sets.device(), none, out.as<void>(), bytes, nullptr) ==
        cudaErrorInvalidValue);
  CHECK(encoder.launch_documents(sets.device(), floats, nullptr, 0, nullptr) == cudaErrorInvalidValue);
  CHECK(encoder.launch_documents(narrow.device(), floats, out.as<void>(), bytes, nullptr) ==
        cudaErrorInvalidValue);
  CHECK(encoder.launch_documents(codes.device(), floats, out.as<void>(), bytes, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace whimbrel
