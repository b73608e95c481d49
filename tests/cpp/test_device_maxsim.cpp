// MaxSim of the GPU against that of the CPU, bit for bit. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device_sets.hpp"
#include "whimbrel/cuda/maxsim.hpp"
#include "whimbrel/maxsim.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

using namespace testing;

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
