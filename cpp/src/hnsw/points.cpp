#include "hnsw/points.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/hooks.hpp"
#include "base/parallel.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kSample = 512;
/// Largest mean squared error of a code, relative to the median squared distance of a sampled point to its
/// nearest in the sample. Sentence embeddings and images are near 1e-6; clusters far apart for their width
/// reach 1e-2.
constexpr double kMaxRelativeError = 1e-4;

std::vector<std::uint32_t> sample_nodes(std::size_t n) {
  std::vector<std::uint32_t> nodes(std::min(n, kSample));
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i] = static_cast<std::uint32_t>(i * n / nodes.size());
  return nodes;
}

/// Mean of the sample for l2, whose distances do not change with it; zero for inner products, whose do.
std::vector<float> choose_center(const Graph& graph, std::span<const std::uint32_t> sample) {
  std::vector<float> center(graph.vectors.stride());
  if (graph.params.metric != Metric::kL2) return center;
  std::vector<double> sum(center.size());
  for (const std::uint32_t node : sample)
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += graph.vectors.row(node)[j];
  for (std::size_t j = 0; j < sum.size(); ++j)
    center[j] = static_cast<float>(sum[j] / static_cast<double>(sample.size()));
  return center;
}

bool precise_enough(const Graph& graph, std::span<const std::uint32_t> sample,
                    std::span<const float> center) {
  const auto l2 = kernels::active_table().l2.fast_ids;
  std::vector<float> distances(sample.size()), nearest;
  double error = 0;
  for (const std::uint32_t node : sample) {
    const float* row = graph.vectors.row(node);
    for (std::size_t j = 0; j < graph.dim; ++j) {
      const float x = row[j] - center[j];
      const double e = static_cast<double>(x) - static_cast<double>(from_bf16(to_bf16(x)));
      error += e * e;
    }
    l2(row, graph.vectors.stride(), graph.rows(), sample.data(), sample.size(), distances.data());
    float best = std::numeric_limits<float>::infinity();
    for (const float d : distances)
      if (d > 0) best = std::min(best, d);
    nearest.push_back(best);
  }
  std::nth_element(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(nearest.size() / 2),
                   nearest.end());
  const double median = nearest[nearest.size() / 2];
  return std::isfinite(median) && error / static_cast<double>(sample.size()) < kMaxRelativeError * median;
}

}  // namespace

BlockRows<kernels::Bf16> encode_vectors(const Graph& graph, std::size_t threads) {
  // Whole cache lines, like the vectors.
  BlockRows<kernels::Bf16> codes(round_up(graph.vectors.stride(), kCacheLine / sizeof(kernels::Bf16)));
  const auto sample = sample_nodes(graph.size());
  if (sample.size() < kSample) return codes;
  const auto center = choose_center(graph, sample);
  if (!precise_enough(graph, sample, center)) {
    log_line([] { return "hnsw: bfloat16 would blur the neighborhoods, the build measures float32"; });
    return codes;
  }
  codes.resize(graph.size());
  constexpr std::size_t kRows = 1024;
  parallel_for((graph.size() + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
    for (std::size_t i = item * kRows; i < std::min(graph.size(), (item + 1) * kRows); ++i)
      for (std::size_t j = 0; j < center.size(); ++j)
        codes.row(i)[j] = to_bf16(graph.vectors.row(i)[j] - center[j]);
  });
  return codes;
}

void ProductCodePoints::distances(const float* table, const std::uint32_t* nodes, std::size_t n,
                                  float* out) const noexcept {
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint8_t* code = rows.row(nodes[i]);
    if (i + 1 < n) {
      const std::uint8_t* ahead = rows.row(nodes[i + 1]);
      for (std::size_t byte = 0; byte < rows.stride; byte += kCacheLine) __builtin_prefetch(ahead + byte);
    }
    constexpr std::size_t kLanes = 4;  // sums side by side, which hide the latency of the additions
    float lane[kLanes] = {};
    const float* entries = table;
    std::size_t j = 0;
    for (; j + kLanes <= groups.size(); j += kLanes)
      for (std::size_t l = 0; l < kLanes; ++l, entries += 256) lane[l] += entries[code[groups[j + l]]];
    for (; j < groups.size(); ++j, entries += 256) lane[0] += entries[code[groups[j]]];
    out[i] = (lane[0] + lane[2]) + (lane[1] + lane[3]);
  }
}

std::size_t ProductCodePoints::distances_below(const float* table, std::uint32_t* nodes, std::size_t n,
                                               float bound, float* out) const noexcept {
  distances(table, nodes, n, out);
  return compact_below(nodes, n, bound, out);
}

}  // namespace whimbrel
