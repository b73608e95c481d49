// Building an index on a GPU: time by step, and what the graph is worth beside those that the CPU builds.
//
//   bench_hnsw_build equal N D           the file of the CPU's linker, byte for byte?
//   bench_hnsw_build device N D [cpu]    time by step and recall; with "cpu" beside the ordinary build
//
// Data lie in 24 dimensions, in 200 clusters of unequal width, with a little noise in all D; they are drawn
// by a seed. Not a comparison with other libraries.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/hnsw_build.hpp"
#include "whimbrel/cuda/knn.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/random.hpp"

namespace {

using namespace whimbrel;

constexpr std::size_t kInner = 24, kClusters = 200, kQueries = 1000, kFound = 10;

float uniform(std::uint64_t seed, std::uint64_t i) {
  return static_cast<float>(static_cast<std::int32_t>(random_bits(seed, RandomPurpose::kInsertionOrder, i))) *
         0x1p-31f;
}
float bell(std::uint64_t seed, std::uint64_t i) {
  float sum = 0;
  for (std::uint64_t j = 0; j < 4; ++j) sum += uniform(seed, 4 * i + j);
  return sum;
}

std::vector<float> draw(std::size_t n, std::size_t d) {
  std::vector<float> directions(kInner * d), rows(n * d);
  for (std::size_t i = 0; i < directions.size(); ++i) directions[i] = bell(1, i);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t cluster = random_bits(2, RandomPurpose::kInsertionOrder, i) % kClusters;
    const float width = 0.3f + 0.7f * static_cast<float>(cluster) / kClusters;
    float* row = rows.data() + i * d;
    for (std::size_t j = 0; j < kInner; ++j) {
      const float z = bell(3, cluster * kInner + j) + width * bell(4, i * kInner + j);
      for (std::size_t c = 0; c < d; ++c) row[c] += z * directions[j * d + c];
    }
    for (std::size_t c = 0; c < d; ++c) row[c] += 0.1f * uniform(5, i * d + c);
  }
  return rows;
}

double seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Recall@10 and queries per second of one thread, for rising ef_search; distances are machine-independent.
void print_curve(const char* name, const HnswIndex& index, MatrixView<const float> queries,
                 const std::vector<std::int64_t>& truth) {
  const HnswStats stats = index.stats();
  const HnswValidation check = index.validate();
  std::printf("%-8s mean degree %.2f, unreachable %zu, dead %zu\n", name, stats.mean_degree,
              check.unreachable, check.dead_edges);
  std::vector<std::int64_t> ids(kQueries * kFound);
  std::vector<float> distances(ids.size());
  std::vector<SearchCounts> counts(kQueries);
  for (const std::size_t ef : {10, 16, 24, 32, 48, 64, 96, 128, 192}) {
    SearchParams params;
    params.k = kFound;
    params.ef_search = ef;
    params.threads = 1;
    double best = 1e9;
    for (int i = 0; i < 2; ++i)
      best = std::min(
          best, seconds([&] { index.search(queries, params, ids.data(), distances.data(), counts.data()); }));
    std::size_t hits = 0, computed = 0;
    for (std::size_t q = 0; q < kQueries; ++q) {
      computed += counts[q].distances;
      for (std::size_t i = 0; i < kFound; ++i)
        hits += static_cast<std::size_t>(
            std::count(truth.data() + q * kFound, truth.data() + (q + 1) * kFound, ids[q * kFound + i]));
    }
    std::printf("%-8s ef %3zu  recall %.4f  distances %6zu  qps %.0f\n", name, ef,
                static_cast<double>(hits) / (kQueries * kFound), computed / kQueries, kQueries / best);
  }
}

std::string bytes_of(const HnswIndex& index) {
  std::string out;
  index.save([&](const void* data, std::size_t size) { out.append(static_cast<const char*>(data), size); });
  return out;
}

int check_equal(std::size_t n, std::size_t d) {
  const std::vector<float> rows = draw(n, d);
  int bad = 0;
  for (const Metric metric : {Metric::kL2, Metric::kIp, Metric::kCosine}) {
    HnswParams params;
    params.metric = metric;
    std::string cpu, gpu;
    const double cpu_s = seconds([&] {
      cpu = bytes_of(HnswIndex::bulk_build({rows.data(), n, d}, params, {}, link_nearest(knn_earlier)));
    });
    const double gpu_s = seconds([&] {
      gpu = bytes_of(HnswIndex::bulk_build({rows.data(), n, d}, params, {}, cuda::link_nearest()));
    });
    std::printf("%s file of %zu x %zu, metric %d: %zu bytes, CPU %.2f s, device %.2f s\n",
                cpu == gpu ? "PASS" : "FAIL", n, d, static_cast<int>(metric), gpu.size(), cpu_s, gpu_s);
    bad += cpu != gpu;
  }
  return bad;
}

int time_device(std::size_t n, std::size_t d, bool cpu) {
  const std::vector<float> rows = draw(n + kQueries, d);
  const MatrixView<const float> data(rows.data(), n, d), queries(rows.data() + n * d, kQueries, d);
  std::vector<std::int64_t> truth(kQueries * kFound);
  std::vector<float> distances(truth.size());
  KnnParams knn_params;
  knn_params.k = kFound;
  std::printf("truth %.2f s\n",
              seconds([&] { knn(data, queries, knn_params, truth.data(), distances.data()); }));
  const HnswParams params;
  std::vector<std::unique_ptr<HnswIndex>> built;
  for (int i = 0; i < 2; ++i) {
    cuda::LinkTimes t;
    built.clear();
    const double total = seconds([&] {
      built.push_back(std::make_unique<HnswIndex>(
          HnswIndex::bulk_build(data, params, {}, cuda::link_nearest(nullptr, &t))));
    });
    const float device = t.upload + t.candidates + t.choose + t.answer + t.download;
    std::printf(
        "device build of %zu x %zu, M %u, ef %u: %.3f s; of these linking %.3f: upload %.3f, candidates "
        "%.3f, "
        "choose %.3f, answer %.3f, download %.3f\n",
        n, d, params.M, params.ef_construction, total, static_cast<double>(device) / 1e3,
        static_cast<double>(t.upload) / 1e3, static_cast<double>(t.candidates) / 1e3,
        static_cast<double>(t.choose) / 1e3, static_cast<double>(t.answer) / 1e3,
        static_cast<double>(t.download) / 1e3);
    std::fflush(stdout);
  }
  print_curve("device", *built[0], queries, truth);
  std::fflush(stdout);
  if (!cpu) return 0;
  const double total =
      seconds([&] { built.push_back(std::make_unique<HnswIndex>(HnswIndex::build(data, params))); });
  std::printf("ordinary build on the CPU: %.2f s\n", total);
  print_curve("cpu", *built[1], queries, truth);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: bench_hnsw_build equal|device N D [cpu]\n");
    return 2;
  }
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0) {
    std::printf("no CUDA device\n");
    return 77;
  }
  const auto n = static_cast<std::size_t>(std::atoll(argv[2])),
             d = static_cast<std::size_t>(std::atoll(argv[3]));
  try {
    if (std::strcmp(argv[1], "equal") == 0) return check_equal(n, d);
    return time_device(n, d, argc > 4);
  } catch (const std::exception& e) {
    std::printf("FAIL %s\n", e.what());
    return 1;
  }
}
