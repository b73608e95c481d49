// Neighbors found by a GPU against those of the CPU, bit for bit. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "device_rows.hpp"
#include "whimbrel/cuda/knn.hpp"
#include "whimbrel/cuda/lid.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/lid.hpp"

namespace whimbrel::cuda {
namespace {

struct Found {
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
  KnnStats stats{};
};

Found search(const DeviceMatrix& data, const DeviceRows& queries, const KnnOptions& options,
             bool least_workspace = false) {
  const std::size_t n = queries.rows * options.k;
  const DeviceBuffer ids(n * 8), distances(n * 4), stats(sizeof(KnnStats)),
      workspace(least_workspace ? knn_min_workspace_bytes(data, queries.rows, options)
                                : knn_workspace_bytes(data, queries.rows, options));
  // Poison: minus one in the ids, NaN in the distances and the workspace.
  if (n > 0) {
    REQUIRE(cudaMemset(ids.data(), 0xf9, ids.bytes()) == cudaSuccess);
    REQUIRE(cudaMemset(distances.data(), 0xff, distances.bytes()) == cudaSuccess);
  }
  if (workspace.bytes() > 0) REQUIRE(cudaMemset(workspace.data(), 0xff, workspace.bytes()) == cudaSuccess);
  REQUIRE(launch_knn(data, queries, options, ids.data<std::int64_t>(), distances.data<float>(),
                     stats.data<KnnStats>(), workspace.data(), workspace.bytes(), nullptr) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  return {fetch<std::int64_t>(ids, n), fetch<float>(distances, n), fetch<KnnStats>(stats, 1)[0]};
}

Found reference(const HostRows& data, const HostRows& queries, Metric metric, const KnnOptions& options) {
  KnnParams params;
  params.k = options.k;
  params.metric = metric;
  const std::size_t q = queries.rows, k = options.k;
  Found out{std::vector<std::int64_t>(q * k), std::vector<float>(q * k), {}};
  if (options.scope == KnnScope::kAll) {
    knn(data.view(), queries.view(), params, out.ids.data(), out.distances.data());
  } else if (options.scope == KnnScope::kOthers) {
    std::vector<std::int64_t> ids(data.rows * k);
    std::vector<float> distances(data.rows * k);
    knn_self(data.view(), params, ids.data(), distances.data());
    const auto first = static_cast<std::ptrdiff_t>(options.first_row * k);
    std::copy_n(ids.begin() + first, q * k, out.ids.begin());
    std::copy_n(distances.begin() + first, q * k, out.distances.begin());
  } else {
    params.threads = 1;
    for (std::size_t i = 0; i < q; ++i) {
      const MatrixView<const float> before(data.floats.data(), options.first_row + i, data.dim);
      const MatrixView<const float> own(queries.floats.data() + i * data.dim, 1, data.dim);
      knn(before, own, params, out.ids.data() + i * k, out.distances.data() + i * k);
    }
  }
  return out;
}

void compare(const Found& got, const Found& expected, std::size_t k) {
  std::size_t n_wrong = 0, first = 0;
  for (std::size_t i = 0; i < expected.ids.size(); ++i)
    if (got.ids[i] != expected.ids[i] || std::bit_cast<std::uint32_t>(got.distances[i]) !=
                                             std::bit_cast<std::uint32_t>(expected.distances[i])) {
      if (n_wrong == 0) first = i;
      ++n_wrong;
    }
  if (n_wrong == 0) {
    CHECK(true);
    return;
  }
  const std::string where =
      "query " + std::to_string(first / k) + " place " + std::to_string(first % k) + ": id " +
      std::to_string(got.ids[first]) + " at " + std::to_string(got.distances[first]) + ", expected " +
      std::to_string(expected.ids[first]) + " at " + std::to_string(expected.distances[first]);
  CHECK_MESSAGE(n_wrong == 0, n_wrong, " wrong of ", expected.ids.size(), ", first: ", where);
}

enum class Kind { kBell, kIntegers, kDuplicates, kClusters, kHuge, kTiny, kZeros, kOffset, kMixedNorms };

std::vector<float> values(Kind kind, std::size_t n, std::size_t dim, std::uint64_t seed) {
  std::vector<float> out(n * dim);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < dim; ++j) {
      float& x = out[i * dim + j];
      const std::size_t at = i * dim + j;
      switch (kind) {
        case Kind::kBell:
          x = bell(seed, at);
          break;
        case Kind::kIntegers:
          x = std::floor(uniform(seed, at) * 4);
          break;
        case Kind::kDuplicates:
          x = bell(9, i % 50 * dim + j);
          break;
        case Kind::kClusters:
          x = bell(7, i % 10 * dim + j) * 10 + bell(seed, at) * 1e-3f;
          break;
        case Kind::kHuge:
          x = bell(seed, at) * 1e18f;
          break;
        case Kind::kTiny:
          x = bell(seed, at) * 1e-22f;
          break;
        case Kind::kZeros:
          x = i % 3 == 0 ? 0.0f : bell(seed, at);
          break;
        case Kind::kOffset:
          x = bell(seed, at) + 1000;
          break;
        case Kind::kMixedNorms:
          x = bell(seed, at) * std::exp2(static_cast<float>(i % 40) - 20);
          break;
      }
    }
  return out;
}

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kIp, Metric::kCosine};

void check(Kind kind, std::size_t n, std::size_t q, std::size_t dim, Metric metric, const KnnOptions& options,
           ElementType type, ElementType query_type, bool least_workspace = false) {
  CAPTURE(static_cast<int>(kind));
  CAPTURE(n);
  CAPTURE(q);
  CAPTURE(dim);
  CAPTURE(static_cast<int>(metric));
  CAPTURE(options.k);
  CAPTURE(static_cast<int>(options.scope));
  CAPTURE(static_cast<int>(type));
  CAPTURE(static_cast<int>(query_type));
  std::vector<float> rows = values(kind, n, dim, 1);
  if (type == ElementType::kI8)
    for (float& x : rows) x *= 40;
  const HostRows data(rows, dim, type);
  std::vector<float> query_values = values(kind, q, dim, 2);
  if (type == ElementType::kI8)
    for (float& x : query_values) x *= 40;
  if (options.scope != KnnScope::kAll)
    query_values.assign(data.floats.begin() + static_cast<std::ptrdiff_t>(options.first_row * dim),
                        data.floats.begin() + static_cast<std::ptrdiff_t>((options.first_row + q) * dim));
  const HostRows queries(query_values, dim, query_type);
  const OnDevice device_rows(data), device_queries(queries);
  const DeviceMatrix matrix(device_rows.rows(), metric, nullptr);
  const Found got = search(matrix, device_queries.rows(), options, least_workspace);
  compare(got, reference(data, queries, metric, options), options.k);
  CHECK(got.stats.certified + got.stats.scanned == q);
  CHECK(got.stats.not_finite == 0);
}

TEST_CASE("neighbors of the GPU have the bits of the CPU: dimensions and metrics") {
  if (!have_device()) return;
  for (const std::size_t dim : {1u, 3u, 31u, 64u, 100u, 128u, 200u, 384u, 768u, 1001u})
    for (const Metric metric : kMetrics)
      check(Kind::kBell, 3000, 130, dim, metric, {}, ElementType::kF32, ElementType::kF32);
}

TEST_CASE("neighbors of the GPU have the bits of the CPU: numbers of rows, queries and neighbors") {
  if (!have_device()) return;
  for (const std::size_t n : {1u, 2u, 63u, 65u, 512u, 1000u, 20000u})
    for (const std::size_t q : {1u, 5u, 64u, 65u, 300u})
      for (const std::size_t k : {1u, 10u, 100u, 250u, 1024u})
        check(Kind::kBell, n, q, 48, n % 2 == 0 ? Metric::kL2 : Metric::kIp, {.k = k}, ElementType::kF32,
              ElementType::kF32);
}

TEST_CASE("neighbors of the GPU have the bits of the CPU: values") {
  if (!have_device()) return;
  for (const Kind kind : {Kind::kIntegers, Kind::kDuplicates, Kind::kClusters, Kind::kHuge, Kind::kTiny,
                          Kind::kZeros, Kind::kOffset, Kind::kMixedNorms})
    for (const Metric metric : kMetrics)
      for (const std::size_t k : {10u, 100u})
        check(kind, 4000, 70, 40, metric, {.k = k}, ElementType::kF32, ElementType::kF32);
}

TEST_CASE("neighbors of the GPU have the bits of the CPU: element types") {
  if (!have_device()) return;
  constexpr ElementType kTypes[] = {ElementType::kF32, ElementType::kF16, ElementType::kBf16,
                                    ElementType::kI8};
  for (const ElementType type : kTypes)
    for (const ElementType query_type : kTypes)
      for (const Metric metric : kMetrics) check(Kind::kBell, 2000, 33, 96, metric, {}, type, query_type);
}

TEST_CASE("neighbors of the GPU have the bits of the CPU: other and earlier rows") {
  if (!have_device()) return;
  for (const Metric metric : kMetrics)
    for (const Kind kind : {Kind::kBell, Kind::kDuplicates, Kind::kIntegers})
      for (const KnnScope scope : {KnnScope::kOthers, KnnScope::kEarlier})
        for (const std::size_t k : {1u, 20u, 300u}) {
          check(kind, 1500, 1500, 32, metric, {.k = k, .scope = scope}, ElementType::kF32, ElementType::kF32);
          check(kind, 1500, 40, 32, metric, {.k = k, .scope = scope, .first_row = 777}, ElementType::kF32,
                ElementType::kF32);
        }
}

TEST_CASE("a search in chunks of the least workspace gives the same") {
  if (!have_device()) return;
  for (const std::size_t k : {10u, 1024u}) {
    check(Kind::kBell, 5000, 1500, 64, Metric::kL2, {.k = k}, ElementType::kF32, ElementType::kF32, true);
    check(Kind::kIntegers, 5000, 1500, 8, Metric::kL2, {.k = k, .scope = KnnScope::kOthers},
          ElementType::kF32, ElementType::kF32, true);
  }
}

TEST_CASE("a hundred thousand rows, and the same bits from a second run") {
  if (!have_device()) return;
  constexpr std::size_t kRows = 100000, kDim = 96, kQueries = 400;
  const HostRows data(values(Kind::kBell, kRows, kDim, 1), kDim, ElementType::kF32);
  const HostRows queries(values(Kind::kBell, kQueries, kDim, 2), kDim, ElementType::kF32);
  const OnDevice device_queries(queries);
  for (const Metric metric : kMetrics)
    for (const std::size_t k : {10u, 100u, 1000u}) {
      const DeviceMatrix matrix = DeviceMatrix::upload(data.host(), metric, nullptr);
      const KnnOptions options{.k = k};
      const Found got = search(matrix, device_queries.rows(), options);
      compare(got, reference(data, queries, metric, options), k);
      CHECK(got.stats.certified == kQueries);
      const Found again = search(matrix, device_queries.rows(), options);
      CHECK(got.ids == again.ids);
      CHECK(got.distances == again.distances);
      MESSAGE("metric ", static_cast<int>(metric), " k ", k, ": ",
              static_cast<double>(got.stats.candidates) / kQueries, " candidates a query");
    }
}

TEST_CASE("what is not finite is refused in data and marked in queries") {
  if (!have_device()) return;
  std::vector<float> rows = values(Kind::kBell, 100, 8, 1);
  const HostRows good(rows, 8, ElementType::kF32);
  rows[17 * 8 + 3] = std::numeric_limits<float>::quiet_NaN();
  rows[60 * 8] = std::numeric_limits<float>::infinity();
  const HostRows bad(rows, 8, ElementType::kF32);
  const OnDevice on_device(bad), good_on_device(good);
  CHECK_THROWS_WITH_AS(DeviceMatrix(on_device.rows(), Metric::kL2, nullptr),
                       "data: expected finite values, got NaN or infinity in row 17", std::invalid_argument);
  const DeviceMatrix matrix(good_on_device.rows(), Metric::kL2, nullptr);
  const Found got = search(matrix, on_device.rows(), {.k = 3});
  CHECK(got.stats.not_finite == 2);
  for (const std::size_t row : {17u, 60u}) {
    CHECK(got.ids[row * 3] == -1);
    CHECK(std::isnan(got.distances[row * 3 + 2]));
  }
  CHECK(got.ids[0] == 0);
  CHECK(got.distances[0] == 0);
}

TEST_CASE("searches that cannot be are refused, and empty ones are not") {
  if (!have_device()) return;
  const HostRows rows(values(Kind::kBell, 100, 8, 1), 8, ElementType::kF32);
  const OnDevice on_device(rows);
  const DeviceMatrix matrix(on_device.rows(), Metric::kL2, nullptr);
  const DeviceRows queries = on_device.rows();
  const DeviceBuffer workspace(knn_workspace_bytes(matrix, 100, {.k = 10})), ids(100 * 10 * 8),
      distances(100 * 10 * 4);
  const auto launch = [&](const DeviceRows& q, const KnnOptions& options, std::size_t bytes) {
    return launch_knn(matrix, q, options, ids.data<std::int64_t>(), distances.data<float>(), nullptr,
                      workspace.data(), bytes, nullptr);
  };
  CHECK(launch(queries, {.k = 10}, workspace.bytes()) == cudaSuccess);
  CHECK(launch(queries, {.k = 0}, workspace.bytes()) == cudaErrorInvalidValue);
  CHECK(launch(queries, {.k = kMaxK + 1}, workspace.bytes()) == cudaErrorInvalidValue);
  CHECK(launch(queries, {.k = 10}, 1000) == cudaErrorInvalidValue);
  CHECK(launch(queries, {.k = 10, .scope = KnnScope::kOthers, .first_row = 1}, workspace.bytes()) ==
        cudaErrorInvalidValue);
  DeviceRows other = queries;
  other.cols = 7;
  CHECK(launch(other, {.k = 10}, workspace.bytes()) == cudaErrorInvalidValue);
  CHECK(launch(queries.slice(0, 0), {.k = 10}, 0) == cudaSuccess);

  const DeviceMatrix none(queries.slice(0, 0), Metric::kCosine, nullptr);
  const Found got = search(none, queries, {.k = 2});
  CHECK(got.ids == std::vector<std::int64_t>(200, -1));
  CHECK(got.distances == std::vector<float>(200, std::numeric_limits<float>::infinity()));
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("rows may lie apart and anywhere") {
  if (!have_device()) return;
  constexpr std::size_t kRows = 1200, kDim = 37, kStride = 41, kOffset = 3, kQueries = 70;
  for (const ElementType type : {ElementType::kF32, ElementType::kF16, ElementType::kI8}) {
    // What lies between the rows is large, so that reading it would show.
    std::vector<float> wide(kOffset + (kRows + kQueries) * kStride, 100.0f), rows, queries;
    for (std::size_t i = 0; i < kRows + kQueries; ++i)
      for (std::size_t j = 0; j < kDim; ++j) {
        const float x = std::floor(bell(4, i * kDim + j) * 20);
        wide[kOffset + i * kStride + j] = x;
        (i < kRows ? rows : queries).push_back(x);
      }
    const OnDevice on_device(HostRows(wide, 1, type));
    const DeviceRows all = on_device.rows();
    const auto* first = static_cast<const unsigned char*>(all.data) + kOffset * element_bytes(type);
    const DeviceRows apart(first, type, kRows + kQueries, kDim, kStride);
    const DeviceMatrix matrix(apart.slice(0, kRows), Metric::kL2, nullptr);
    const KnnOptions options{.k = 12};
    compare(search(matrix, apart.slice(kRows, kQueries), options),
            reference(HostRows(rows, kDim, type), HostRows(queries, kDim, type), Metric::kL2, options), 12);
  }
}

TEST_CASE("a fast search returns canonical distances and misses next to nothing") {
  if (!have_device()) return;
  constexpr std::size_t kK = 20, kQueries = 200;
  const HostRows data(values(Kind::kBell, 20000, 64, 1), 64, ElementType::kF32);
  const HostRows queries(values(Kind::kBell, kQueries, 64, 2), 64, ElementType::kF32);
  const OnDevice device_data(data), device_queries(queries);
  const DeviceMatrix matrix(device_data.rows(), Metric::kL2, nullptr);
  const KnnOptions options{.k = kK, .precision = KnnPrecision::kFast};
  const Found got = search(matrix, device_queries.rows(), options);
  const Found expected = reference(data, queries, Metric::kL2, {.k = kK});
  std::size_t n_same = 0;
  for (std::size_t q = 0; q < kQueries; ++q)
    for (std::size_t i = 0; i < kK; ++i) {
      const auto begin = expected.ids.begin() + static_cast<std::ptrdiff_t>(q * kK);
      const auto at = std::find(begin, begin + kK, got.ids[q * kK + i]);
      if (at == begin + kK) continue;
      ++n_same;
      CHECK(got.distances[q * kK + i] ==
            expected.distances[static_cast<std::size_t>(at - expected.ids.begin())]);
    }
  CHECK(n_same >= kQueries * kK * 999 / 1000);
  CHECK(got.stats.certified == kQueries);
}

TEST_CASE("too much device memory is refused with the bytes wanted and the bytes free") {
  if (!have_device()) return;
  constexpr std::size_t kWanted = std::size_t{1} << 50;
  try {
    const DeviceBuffer buffer(kWanted);
    FAIL("got a petabyte");
  } catch (const CudaError& error) {
    CHECK(error.code() == cudaErrorMemoryAllocation);
    CHECK(std::string(error.what()).find("expected 1125899906842624 bytes, got ") != std::string::npos);
  }
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(DeviceBuffer(1000).bytes() == 1000);
}

TEST_CASE("LID of the GPU is that of the CPU") {
  if (!have_device()) return;
  constexpr std::size_t kRows = 500, kK = 20;
  std::vector<float> squares(kRows * kK), radii(kRows * kK);
  for (std::size_t i = 0; i < kRows; ++i) {
    float* row = squares.data() + i * kK;
    for (std::size_t j = 0; j < kK; ++j) {
      row[j] = i == 1 ? 2.0f : std::abs(bell(3, i * kK + j));
      if (i % 5 == 0 && j < 3) row[j] = 0;
      if (i % 7 == 0 && j > 15) row[j] = std::numeric_limits<float>::infinity();
      if (i == 2) row[j] = 0;
    }
    std::sort(row, row + kK);
    for (std::size_t j = 0; j < kK; ++j) radii[i * kK + j] = std::sqrt(row[j]);
  }
  const HostRows host(squares, kK, ElementType::kF32);
  const OnDevice on_device(host);
  const DeviceBuffer out(kRows * 8);
  const MatrixView<const float> view(static_cast<const float*>(on_device.rows().data), kRows, kK);
  for (const LidEstimator estimator :
       {LidEstimator::kMle, LidEstimator::kLevinaBickel, LidEstimator::kUnbiased, LidEstimator::kMoments}) {
    std::vector<double> expected(kRows);
    estimate_lid({radii.data(), kRows, kK}, estimator, expected.data());
    REQUIRE(cudaMemset(out.data(), 0xff, out.bytes()) == cudaSuccess);
    REQUIRE(launch_lid(view, true, estimator, out.data<double>(), nullptr) == cudaSuccess);
    const auto got = fetch<double>(out, kRows);
    for (std::size_t i = 0; i < kRows; ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-12));
  }
}

}  // namespace
}  // namespace whimbrel::cuda
