#include "hnsw/points.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace whimbrel {
namespace {

/// A query as messages call it.
std::string name_of(const Graph& graph, const float* query) {
  for (std::size_t i = 0; i < graph.vectors.size(); ++i)
    if (graph.vectors.row(i) == query) return "row " + std::to_string(i);
  return "a query";
}

}  // namespace

template <class T>
RowPoints<T>::RowPoints(const Graph& graph)
    : ip(kernels::active_table().ip.fast),
      widen(kernels::active_table().widen_f16),
      dim(graph.measured_dim()),
      l2(graph.params.metric == Metric::kL2) {
  const auto& metric = kernels::metric_kernels(kernels::active_table(), graph.params.metric);
  const auto blocks = [](const BlockRows<T>& all) -> kernels::RowBlocks<T> {
    return {all.blocks(), all.shift(), all.mask(), all.stride()};
  };
  if constexpr (std::is_same_v<T, float>) {
    rows = blocks(graph.vectors);
    kernel = metric.fast_ids;
  } else {
    rows = blocks(graph.halves);
    kernel = metric.fast_ids_f16;
  }
  if (graph.dim_order.empty()) return;
  below = kernels::active_table().l2_ids_below;
  stage = round_up(graph.dim / 4, kCacheLine / sizeof(float));
}

template struct RowPoints<float>;
template struct RowPoints<kernels::Half>;

void UserPoints::distances(Query query, const std::uint32_t* nodes, std::size_t n, float* out) const {
  constexpr std::size_t kGroup = 64;
  const UserDistance& distance = graph->params.distance;
  const float* rows[kGroup];
  std::fill_n(out, n, std::numeric_limits<float>::quiet_NaN());  // for those it leaves out
  for (std::size_t begin = 0; begin < n; begin += kGroup) {
    const std::size_t size = std::min(kGroup, n - begin);
    for (std::size_t i = 0; i < size; ++i) {
      rows[i] = graph->vectors.row(nodes[begin + i]);
      __builtin_prefetch(rows[i]);
    }
    distance.measure(query, graph->dim, rows, size, out + begin);
  }
  for (std::size_t i = 0; i < n; ++i)
    if (std::isnan(out[i]))
      throw std::invalid_argument("distance: expected a number of '" + distance.name + "', got NaN for " +
                                  name_of(*graph, query) + " and row " + std::to_string(nodes[i]));
}

PairPoints pair_points(const BlockRows<std::uint8_t>& rows, const kernels::CodeTerms* terms,
                       CodeLayout layout, Metric metric) {
  const bool l2 = metric != Metric::kIp;
  const kernels::KernelTable& table = kernels::active_table();
  const kernels::MetricKernels& kernels = l2 ? table.l2 : table.ip;
  return {{rows.blocks(), rows.shift(), rows.mask(), rows.stride()},
          terms,
          layout.nibbles() ? kernels.nibble_pairs : kernels.code_pairs,
          layout,
          l2};
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
