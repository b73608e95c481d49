// Time of exact search on a GPU, in all and by stage; one line per case. Data are drawn on the device.
//
// Not a comparison with other libraries: times of peers need their own programs. Run with --variants to time
// every scan kernel on its own.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "prepare.cuh"
#include "scan.cuh"
#include "settle.cuh"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/knn.hpp"

namespace whimbrel::cuda {
namespace {

constexpr int kRepetitions = 5;

__device__ unsigned hashed(unsigned long long x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  x ^= x >> 33;
  return static_cast<unsigned>(x);
}

__device__ float bell(unsigned long long i) {
  float sum = 0;
  for (int j = 0; j < 4; ++j) sum += static_cast<float>(static_cast<int>(hashed(4 * i + j))) * 0x1p-31f;
  return sum;
}

/// Around `n_centers` centers, or around the origin where that is 0.
__global__ void draw(float* out, std::size_t n, std::size_t dim, unsigned long long seed, unsigned n_centers,
                     float radius) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n * dim;
       i += std::size_t{gridDim.x} * blockDim.x) {
    float x = bell((seed << 40) + i);
    if (n_centers > 0)
      x = radius * x + bell((99ull << 40) + hashed(i / dim + (seed << 40)) % n_centers * dim + i % dim);
    out[i] = x;
  }
}

double median_ms(const std::function<void()>& run) {
  std::vector<double> times;
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  run();
  for (int i = 0; i < kRepetitions; ++i) {
    check(cudaEventRecord(begin), "cudaEventRecord");
    run();
    check(cudaEventRecord(end), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
    times.push_back(static_cast<double>(ms));
  }
  check(cudaEventDestroy(begin), "cudaEventDestroy");
  check(cudaEventDestroy(end), "cudaEventDestroy");
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Vectors {
  DeviceBuffer buffer;
  DeviceRows rows;
  Vectors(std::size_t n, std::size_t dim, unsigned long long seed, unsigned n_centers = 0,
          float radius = 0.5f)
      : buffer(n * dim * sizeof(float)), rows(buffer.data(), ElementType::kF32, n, dim, dim) {
    draw<<<2048, 256>>>(buffer.data<float>(), n, dim, seed, n_centers, radius);
    check(cudaDeviceSynchronize(), "drawing vectors");
  }
};

void bench_search(const char* name, const DeviceMatrix& data, const DeviceRows& queries,
                  const KnnOptions& options) {
  const std::size_t n = queries.rows * options.k;
  const DeviceBuffer ids(n * 8), distances(n * 4), stats(sizeof(KnnStats)),
      workspace(knn_workspace_bytes(data, queries.rows, options));
  const double ms = median_ms([&] {
    check(launch_knn(data, queries, options, ids.data<std::int64_t>(), distances.data<float>(),
                     stats.data<KnnStats>(), workspace.data(), workspace.bytes(), nullptr),
          "launch_knn");
  });
  KnnStats s;
  check(cudaMemcpy(&s, stats.data(), sizeof s, cudaMemcpyDeviceToHost), "cudaMemcpy");
  const double pairs = static_cast<double>(queries.rows) * static_cast<double>(data.rows().rows) *
                       (options.scope == KnnScope::kEarlier ? 0.5 : 1.0);
  std::printf(
      "search %-10s n %8zu d %4zu q %7zu k %4zu: %9.3f ms %7.1f TFLOP/s, %7.1f GB/s of fp16 rows, certified "
      "%llu of %zu, "
      "%.1f candidates, workspace %.0f MB\n",
      name, data.rows().rows, data.rows().cols, queries.rows, options.k, ms,
      2 * pairs * static_cast<double>(data.rows().cols) / ms * 1e-9,
      static_cast<double>(data.rows().rows) * static_cast<double>(data.operand().depth) * 2 / ms * 1e-6,
      s.certified, queries.rows, static_cast<double>(s.candidates) / static_cast<double>(queries.rows),
      static_cast<double>(workspace.bytes()) * 1e-6);
  std::fflush(stdout);
}

/// The time of a search that the host has recorded before: without the host's share.
void bench_recorded(const DeviceMatrix& data, const DeviceRows& queries, const KnnOptions& options) {
  const std::size_t n = queries.rows * options.k;
  const DeviceBuffer ids(n * 8), distances(n * 4),
      workspace(knn_workspace_bytes(data, queries.rows, options));
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recorded = nullptr;
  check(cudaStreamCreate(&stream), "cudaStreamCreate");
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  check(launch_knn(data, queries, options, ids.data<std::int64_t>(), distances.data<float>(), nullptr,
                   workspace.data(), workspace.bytes(), stream),
        "launch_knn");
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&recorded, graph, 0), "cudaGraphInstantiate");
  const double ms = median_ms([&] { check(cudaGraphLaunch(recorded, nullptr), "cudaGraphLaunch"); });
  std::printf("recorded              n %8zu d %4zu q %7zu k %4zu: %9.3f ms\n", data.rows().rows,
              data.rows().cols, queries.rows, options.k, ms);
  std::fflush(stdout);
  check(cudaGraphExecDestroy(recorded), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

/// One chunk, by stage; `change` alters the plan.
void bench_stages(const DeviceMatrix& data, const DeviceRows& queries, const KnnOptions& options,
                  const std::function<void(ScanPlan&)>& change, const char* name, bool settle = true) {
  DeviceLimits limits{};
  check(read_limits(limits), "read_limits");
  const ScanOperand& operand = data.operand();
  const std::size_t q = queries.rows, n = data.rows().rows;
  ScanPlan plan{};
  plan_scan(q, n, operand.depth, options.k, options.scope, limits, plan);
  change(plan);
  const std::size_t padded = (q + plan.tile_rows - 1) / plan.tile_rows * plan.tile_rows;
  const DeviceBuffer values(padded * operand.depth * 2), rows(q * data.rows().cols * 4), slack(q * 4),
      list(q * 4), count(4), minima_buffer(q * plan.minima() * 4), ids(q * options.k * 8),
      distances(q * options.k * 4), stats(sizeof(KnnStats));
  const Minima minima(minima_buffer.data<float>(), plan, q);
  SettleTask task{};
  task.data = data.rows();
  task.operand = operand;
  task.metric = data.metric();
  task.queries = {values.data<__half>(), rows.data<float>(), slack.data<float>(),
                  count.data<std::uint32_t>()};
  task.n_queries = q;
  task.scope = options.scope;
  task.k = static_cast<unsigned>(options.k);
  task.open = {list.data<std::uint32_t>(), count.data<std::uint32_t>()};
  task.ids = ids.data<std::int64_t>();
  task.distances = distances.data<float>();
  check(cudaMemset(count.data(), 0, 4), "cudaMemset");
  const double prepare = median_ms([&] {
    check(prepare_queries(queries, padded, operand, data.metric(), true, task.queries, nullptr), "prepare");
  });
  const double scan = median_ms(
      [&] { check(launch_scan(plan, operand, task.queries.values, q, 0, minima, limits, nullptr), "scan"); });
  const double settled = settle ? median_ms([&] {
    check(cudaMemsetAsync(count.data(), 0, 4), "cudaMemset");
    check(launch_settle(task, plan, minima, limits, nullptr), "settle");
  })
                                : 0;
  const double flop =
      2.0 * static_cast<double>(q) * static_cast<double>(n) * static_cast<double>(data.rows().cols);
  std::printf(
      "stages %-14s G %2u item %2u span %u n %8zu d %4zu q %6zu k %4zu: prepare %.3f scan %8.3f ms (%6.1f "
      "TFLOP/s) settle %8.3f ms\n",
      name, plan.group, plan.item_tiles, plan.layout.span_tiles, n, data.rows().cols, q, options.k, prepare,
      scan, flop / scan * 1e-9, settled);
  std::fflush(stdout);
}

void variants(std::size_t dim, bool hopper) {
  constexpr std::size_t kRows = 1000000, kQueries = 3584;
  const Vectors rows(kRows, dim, 1), queries(kQueries, dim, 2);
  const DeviceMatrix data(rows.rows, Metric::kL2, nullptr);
  DeviceLimits limits{};
  check(read_limits(limits), "read_limits");
  const auto with = [&](ScanKernel kernel, unsigned group, std::size_t k) {
    return [=](ScanPlan& plan) {
      set_kernel(plan, kernel);
      plan.group = group;
      set_runs(plan, kQueries, kRows, k, limits.processors);
    };
  };
  std::vector<std::pair<ScanKernel, const char*>> kernels = {{ScanKernel::kSmall, "small"},
                                                             {ScanKernel::kStreamed, "streamed"}};
  if (dim <= 256) kernels.push_back({ScanKernel::kResident, "resident"});
  if (hopper) {
    kernels = {{ScanKernel::kHopperStreamed, "hopper stream"}};
    if (dim <= 256) kernels.push_back({ScanKernel::kHopperResident, "hopper resident"});
  }
  for (const auto& [kernel, name] : kernels)
    for (const unsigned group : {16u, 4u}) {
      const bool best = kernel == kernels.back().first;
      if (group != 16 && (!best || !hopper)) continue;
      for (const std::size_t k : {10u, 100u, 1000u})
        if (k == 10 || (best && hopper && true))
          bench_stages(data, queries.rows, {.k = k}, with(kernel, group, k), name, best);
    }
}

void searches(std::size_t dim) {
  constexpr std::size_t kRows = 1000000;
  const Vectors rows(kRows, dim, 1), queries(10000, dim, 2);
  const double prepared = [&] {
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "cudaEventCreate");
    check(cudaEventCreate(&end), "cudaEventCreate");
    check(cudaEventRecord(begin), "cudaEventRecord");
    const DeviceMatrix first(rows.rows, Metric::kL2, nullptr);
    check(cudaEventRecord(end), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
    return ms;
  }();
  std::printf("prepare n %zu d %zu: %.3f ms\n", kRows, dim, prepared);
  const DeviceMatrix data(rows.rows, Metric::kL2, nullptr);
  for (const std::size_t k : {10u, 100u, 1000u}) bench_search("random", data, queries.rows, {.k = k});
  bench_search("fast", data, queries.rows, {.k = 10, .precision = KnnPrecision::kFast});
  for (const std::size_t q : {1u, 8u, 64u, 256u})
    for (const std::size_t k : {10u, 100u}) bench_search("few", data, queries.rows.slice(0, q), {.k = k});
  for (const std::size_t q : {1u, 64u}) bench_recorded(data, queries.rows.slice(0, q), {.k = 10});
  for (const std::size_t q : {1u, 64u, 256u})
    bench_stages(data, queries.rows.slice(0, q), {.k = 10}, [](ScanPlan&) {}, "few");
  const DeviceMatrix cosine(rows.rows, Metric::kCosine, nullptr);
  bench_search("cosine", cosine, queries.rows, {.k = 10});
}

void graph(std::size_t n, std::size_t dim) {
  const Vectors rows(n, dim, 1, 1000);
  const DeviceMatrix data(rows.rows, Metric::kL2, nullptr);
  bench_search("graph", data, rows.rows, {.k = 10, .scope = KnnScope::kOthers});
  bench_search("earlier", data, rows.rows, {.k = 10, .scope = KnnScope::kEarlier});
}

/// Clusters so tight that fp16 cannot tell their members apart: every query is scanned in full.
void hard() {
  const Vectors rows(1000000, 128, 1, 100, 1e-4f), queries(1000, 128, 2, 100, 1e-4f);
  const DeviceMatrix data(rows.rows, Metric::kL2, nullptr);
  for (const std::size_t q : {1u, 100u, 1000u})
    bench_search("hard", data, queries.rows.slice(0, q), {.k = 10});
}

void copy_bandwidth() {
  constexpr std::size_t kBytes = std::size_t{2} << 30;
  const DeviceBuffer from(kBytes), to(kBytes);
  const double ms = median_ms([&] {
    check(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice), "cudaMemcpyAsync");
  });
  std::printf("copy: %.0f GB/s\n", 2 * static_cast<double>(kBytes) / ms * 1e-6);
}

bool has_hopper() {
  DeviceLimits limits{};
  check(read_limits(limits), "read_limits");
  return limits.hopper;
}

int run(int argc, char** argv) {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0) {
    std::puts("no CUDA device");
    return 77;
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  std::printf("%s, %d processors\n", properties.name, properties.multiProcessorCount);
  copy_bandwidth();
  const std::string what = argc > 1 ? argv[1] : "all";
  const std::vector<std::size_t> dims = {128, 384, 768};
  if (what == "--variants" || what == "all")
    for (const std::size_t dim : dims) variants(dim, false);
  if ((what == "--hopper" || what == "all") && has_hopper())
    for (const std::size_t dim : dims) variants(dim, true);
  if (what == "--searches" || what == "all")
    for (const std::size_t dim : dims) searches(dim);
  if (what == "--graph" || what == "all")
    graph(argc > 2 ? static_cast<std::size_t>(std::stoul(argv[2])) : 300000, 128);
  if (what == "--hard" || what == "all") hard();
  return 0;
}

}  // namespace
}  // namespace whimbrel::cuda

int main(int argc, char** argv) {
  try {
    return whimbrel::cuda::run(argc, argv);
  } catch (const std::exception& e) {
    std::printf("FAIL %s\n", e.what());
    return 1;
  }
}
