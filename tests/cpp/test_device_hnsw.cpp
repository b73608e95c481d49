// Levels linked by a GPU against those of the CPU, and whole indexes, byte for byte. Part of the build only
// with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "device_rows.hpp"
#include "whimbrel/cuda/hnsw_build.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel::cuda {
namespace {

std::vector<float> bells(std::size_t n, std::size_t d, std::uint64_t seed, float grid = 0) {
  std::vector<float> values(n * d);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = bell(seed, i) * 10;
    if (grid > 0) values[i] = std::round(values[i] / grid) * grid;
  }
  return values;
}

struct Case {
  std::size_t n, d, M, ef;
  bool fill;
  float grid;  // 0: none; else equal distances
};

void check_level(const Case& c, Metric metric) {
  CAPTURE(c.n);
  CAPTURE(c.d);
  CAPTURE(c.M);
  CAPTURE(c.ef);
  CAPTURE(c.fill);
  CAPTURE(c.grid);
  CAPTURE(static_cast<int>(metric));
  const std::vector<float> rows = bells(c.n, c.d, c.n + c.d, c.grid);
  LevelToLink level;
  level.rows = {rows.data(), c.n, c.d};
  level.metric = metric;
  level.ef_construction = c.ef;
  level.own = c.M;
  level.capacity = 2 * c.M;
  level.own_filled = c.fill ? c.M : 0;
  level.filled = c.fill ? 2 * c.M : 0;
  std::vector<std::uint32_t> expected(c.n * level.capacity, 7), found(c.n * level.capacity, 9);
  whimbrel::link_nearest(knn_earlier)(level, expected.data());
  link_nearest()(level, found.data());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < c.n; ++i)
    wrong += !std::equal(expected.begin() + static_cast<std::ptrdiff_t>(i * level.capacity),
                         expected.begin() + static_cast<std::ptrdiff_t>((i + 1) * level.capacity),
                         found.begin() + static_cast<std::ptrdiff_t>(i * level.capacity));
  CHECK(wrong == 0);
}

std::string bytes_of(const HnswIndex& index) {
  std::string out;
  index.save([&](const void* data, std::size_t size) { out.append(static_cast<const char*>(data), size); });
  return out;
}

TEST_CASE("levels linked by the GPU have the lists of the CPU") {
  if (!have_device()) return;
  for (const Metric metric : {Metric::kL2, Metric::kIp})
    for (const bool fill : {false, true}) {
      check_level({0, 4, 4, 10, fill, 0}, metric);
      check_level({1, 4, 4, 10, fill, 0}, metric);
      check_level({2, 4, 4, 10, fill, 0}, metric);
      check_level({33, 3, 16, 100, fill, 0}, metric);
      check_level({1000, 1, 2, 1, fill, 1}, metric);
      check_level({3000, 5, 4, 40, fill, 5}, metric);
      check_level({3000, 33, 16, 200, fill, 0}, metric);
      check_level({1100, 128, 512, 1024, fill, 0}, metric);
      check_level({5000, 768, 16, 64, fill, 0}, metric);
    }
}

TEST_CASE("an index built on the GPU is that of the CPU, byte for byte") {
  if (!have_device()) return;
  constexpr std::size_t n = 20000, d = 40;
  const std::vector<float> rows = bells(n, d, 1);
  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [](std::int64_t a, std::int64_t b) {
    return uniform(5, static_cast<std::uint64_t>(a)) < uniform(5, static_cast<std::uint64_t>(b));
  });
  for (const Metric metric : {Metric::kL2, Metric::kIp, Metric::kCosine}) {
    HnswParams params;
    params.metric = metric;
    params.ef_construction = 100;
    AddOptions options;
    options.order = order;
    const MatrixView<const float> view(rows.data(), n, d);
    const HnswIndex cpu = HnswIndex::bulk_build(view, params, options, whimbrel::link_nearest(knn_earlier));
    const HnswIndex gpu = HnswIndex::bulk_build(view, params, options, link_nearest());
    CHECK(gpu.validate().unreachable == 0);
    CHECK(bytes_of(cpu) == bytes_of(gpu));
  }
}

TEST_CASE("a build on the GPU can be cancelled, and refuses what it cannot do") {
  if (!have_device()) return;
  const std::vector<float> rows = bells(5000, 8, 2);
  const MatrixView<const float> view(rows.data(), 5000, 8);
  HnswParams params;
  LevelToLink level;
  level.rows = view;
  level.ef_construction = 20;
  level.own = 4;
  level.capacity = 8;
  std::vector<std::uint32_t> lists(5000 * 8);
  level.progress = [](std::size_t, std::size_t) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH(link_nearest()(level, lists.data()), "enough");
  params.ef_construction = 1025;
  CHECK_THROWS_AS(HnswIndex::bulk_build(view, params, {}, link_nearest()), std::invalid_argument);
  LinkRule rule;
  rule.metric = Metric::kCosine;
  CHECK(launch_choose_links(view, 0, 1, 1, nullptr, nullptr, rule, nullptr, nullptr) ==
        cudaErrorInvalidValue);
  CHECK(launch_answer_links(view, rule, nullptr, nullptr, nullptr, 0, nullptr) == cudaErrorInvalidValue);
}

TEST_CASE("without a device a build says so") {
  if (have_device()) return;
  const std::vector<float> rows = bells(100, 8, 2);
  CHECK_THROWS_AS(HnswIndex::bulk_build({rows.data(), 100, 8}, {}, {}, link_nearest()), CudaError);
}

}  // namespace
}  // namespace whimbrel::cuda
