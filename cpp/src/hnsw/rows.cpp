#include "hnsw/rows.hpp"

#include <algorithm>
#include <numeric>

#include "base/vectors.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kSample = 512;
/// Rows of fewer coordinates are read whole sooner than in stages.
constexpr std::size_t kMinDim = 128;
/// Share of the variance that the better half of the coordinates must hold. Sentence embeddings: 0.6, one
/// half of any isotropic data: 0.5, images of digits: 0.97.
constexpr double kMinShare = 0.75;

}  // namespace

std::vector<std::uint32_t> choose_dim_order(const Graph& graph, MatrixView<const float> vectors) {
  if (graph.params.metric != Metric::kL2 || graph.dim < kMinDim || vectors.rows < kSample) return {};
  std::vector<double> sum(graph.dim), squares(graph.dim), variance(graph.dim);
  for (std::size_t i = 0; i < kSample; ++i) {
    const float* row = vectors.row(i * vectors.rows / kSample);
    for (std::size_t j = 0; j < graph.dim; ++j) {
      sum[j] += row[j];
      squares[j] += static_cast<double>(row[j]) * row[j];
    }
  }
  for (std::size_t j = 0; j < graph.dim; ++j)
    variance[j] = std::max(0.0, squares[j] - sum[j] * sum[j] / kSample);
  std::vector<std::uint32_t> order(graph.dim);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return variance[a] > variance[b]; });
  double half = 0;
  for (std::size_t j = 0; j < graph.dim / 2; ++j) half += variance[order[j]];
  if (!(half > kMinShare * std::accumulate(variance.begin(), variance.end(), 0.0))) return {};
  return order;
}

void store_row(const Graph& graph, const float* row, float* out) {
  if (graph.params.metric == Metric::kCosine) {
    normalize(row, graph.dim, out);
  } else if (graph.dim_order.empty()) {
    std::copy_n(row, graph.dim, out);
  } else {
    for (std::size_t j = 0; j < graph.dim; ++j) out[j] = row[graph.dim_order[j]];
  }
  std::fill(out + graph.dim, out + graph.vectors.stride(), 0.0f);
}

const float* caller_row(const Graph& graph, std::uint32_t node, float* scratch) {
  const float* row = graph.vectors.row(node);
  if (graph.dim_order.empty()) return row;
  for (std::size_t j = 0; j < graph.dim; ++j) scratch[graph.dim_order[j]] = row[j];
  return scratch;
}

}  // namespace whimbrel
