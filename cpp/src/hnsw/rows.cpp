#include "hnsw/rows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "base/half.hpp"
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
  std::fill(out + graph.dim, out + graph.padded_dim(), 0.0f);
}

void prepare_rows(Graph& graph, std::size_t n) {
  if (graph.rows_are_codes())
    graph.codes.prepare(n);
  else if (graph.in_halves())
    graph.halves.prepare(n);
  else
    graph.vectors.prepare(n);
}

void resize_rows(Graph& graph, std::size_t n) {
  if (graph.rows_are_codes()) {
    graph.codes.resize(n);
    graph.code_terms.resize(n);
  } else if (graph.in_halves()) {
    graph.halves.resize(n);
  } else {
    graph.vectors.resize(n);
  }
}

RowWriter::RowWriter(Graph& graph) : graph_(graph), stored_(graph.padded_dim()) {
  if (!graph.only_codes()) return;
  codes_.emplace(graph.quantizer);
  terms_.emplace(graph.quantizer, graph.params.metric);
}

void RowWriter::put(std::uint32_t node, const float* row) {
  if (!graph_.in_halves() && !codes_) return store_row(graph_, row, graph_.vectors.row(node));
  store_row(graph_, row, stored_.data());
  if (codes_) {
    graph_.quantizer.encode(stored_.data(), *codes_, graph_.codes.row(node));
    graph_.code_terms[node] = (*terms_)(graph_.codes.row(node));
    return;
  }
  kernels::Half* halves = graph_.halves.row(node);
  for (std::size_t j = 0; j < graph_.dim; ++j) halves[j] = {to_half(stored_[j])};
  std::fill(halves + graph_.dim, halves + graph_.halves.stride(), kernels::Half{0});
}

const float* stored_row(const Graph& graph, std::uint32_t node, float* scratch) {
  if (graph.only_codes()) {
    graph.quantizer.decode(graph.codes.row(node), scratch);
    if (graph.params.metric == Metric::kCosine) normalize(scratch, graph.dim, scratch);
    return scratch;
  }
  if (!graph.in_halves()) return graph.vectors.row(node);
  kernels::active_table().widen_f16(&graph.halves.row(node)->bits, graph.padded_dim(), scratch);
  return scratch;
}

void prefetch_row(const Graph& graph, std::uint32_t node) {
  const bool halves = graph.in_halves(), codes = graph.only_codes();
  const char* row = codes    ? reinterpret_cast<const char*>(graph.codes.row(node))
                    : halves ? reinterpret_cast<const char*>(graph.halves.row(node))
                             : reinterpret_cast<const char*>(graph.vectors.row(node));
  const std::size_t bytes =
      codes ? graph.codes.stride() : graph.dim * (halves ? sizeof(kernels::Half) : sizeof(float));
  for (std::size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(row + i);
}

void borrow_rows(Graph& graph, MatrixView<const float> vectors) {
  graph.vectors = BlockRows<float>(vectors.data, vectors.rows, vectors.stride);
  graph.callers_rows = true;
}

void give_rows_back(Graph& graph) {
  graph.vectors = BlockRows<float>(graph.padded_dim());
  graph.callers_rows = false;
}

void check_still_finite(const float* row, std::size_t dim, std::size_t number) {
  if (!std::all_of(row, row + dim, [](float x) { return std::isfinite(x); }))
    throw std::invalid_argument("vectors: expected finite values still, got others in row " +
                                std::to_string(number));
}

bool is_normalized(const float* row, std::size_t dim, double slack) {
  double square = 0;
  for (std::size_t j = 0; j < dim; ++j) square += static_cast<double>(row[j]) * row[j];
  return square == 0 || std::abs(square - 1) < slack;
}

void check_borrowable(const Graph& graph, MatrixView<const float> vectors) {
  if (graph.in_bytes())
    throw std::invalid_argument("vectors: expected float32 for an index over the caller's");
  if (graph.params.rerank != Rerank::kF32)
    throw std::invalid_argument("rerank: expected f32 for an index over the caller's vectors");
  if (graph.params.metric != Metric::kCosine) return;
  constexpr double kSlack = 1e-4;
  for (std::size_t i = 0; i < vectors.rows; ++i)
    if (!is_normalized(vectors.row(i), graph.dim, kSlack))
      throw std::invalid_argument(
          "vectors: expected rows of length 1 for cosine without a copy, got another one in row " +
          std::to_string(i));
}

void check_halves(MatrixView<const float> vectors) {
  constexpr float kLargest = 65504;
  for (std::size_t i = 0; i < vectors.rows; ++i)
    for (std::size_t j = 0; j < vectors.cols; ++j)
      if (std::abs(vectors.row(i)[j]) > kLargest)
        throw std::invalid_argument("vectors: expected values up to 65504 to keep as float16, got " +
                                    std::to_string(vectors.row(i)[j]) + " in row " + std::to_string(i));
}

const float* caller_row(const Graph& graph, std::uint32_t node, float* scratch) {
  if (graph.dim_order.empty()) return stored_row(graph, node, scratch);
  const float* row = graph.vectors.row(node);
  for (std::size_t j = 0; j < graph.dim; ++j) scratch[graph.dim_order[j]] = row[j];
  return scratch;
}

}  // namespace whimbrel
