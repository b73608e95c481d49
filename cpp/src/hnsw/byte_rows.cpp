#include "hnsw/byte_rows.hpp"

#include <algorithm>

#include "hnsw/pair_terms.hpp"

namespace whimbrel {
namespace {

/// Stored bytes are not negative: int8 is stored plus 128.
std::uint8_t flip(const Graph& graph) {
  return graph.params.vector_type == VectorType::kInt8 ? std::uint8_t{0x80} : std::uint8_t{0};
}

void store(const Graph& graph, VectorsView vectors, std::size_t i, std::uint8_t* out) {
  const std::uint8_t* row = vectors.as<std::uint8_t>().row(i);
  const std::uint8_t mask = flip(graph);
  for (std::size_t j = 0, n = graph.dim; j < n; ++j) out[j] = row[j] ^ mask;
  std::fill(out + graph.dim, out + graph.codes.stride(), std::uint8_t{0});
}

void hold(const Graph& graph, const std::uint8_t* stored, const kernels::CodeTerms& terms,
          SearchScratch& scratch) {
  scratch.point = pair_point(stored, {graph.dim, 8}, scratch.byte_values.data(), graph.codes.stride(), terms);
}

}  // namespace

void put_byte_row(Graph& graph, std::uint32_t node, VectorsView vectors, std::size_t i) {
  store(graph, vectors, i, graph.codes.row(node));
  graph.code_terms[node] = byte_terms(graph, graph.codes.row(node));
}

void get_byte_row(const Graph& graph, std::uint32_t node, void* out) {
  const std::uint8_t* row = graph.codes.row(node);
  auto* bytes = static_cast<std::uint8_t*>(out);
  const std::uint8_t mask = flip(graph);
  for (std::size_t j = 0, n = graph.dim; j < n; ++j) bytes[j] = row[j] ^ mask;
}

// With stored bytes less 128 as e and f, |e - f|^2 = |e|^2 + |f|^2 - 2 e.f, for either type. The product of
// int8 is e.f, that of uint8 (e + 128).(f + 128) = e.f + 128 sum e + 128 sum f + 128^2 d, half of the last
// for each of the two rows.
kernels::CodeTerms byte_terms(const Graph& graph, const std::uint8_t* row) {
  std::int32_t sum = 0, squares = 0;
  for (std::size_t j = 0; j < graph.dim; ++j) {
    const std::int32_t e = row[j] - 128;
    sum += e;
    squares += e * e;
  }
  if (graph.params.metric == Metric::kL2) return pair_terms(squares, sum, true);
  if (graph.params.vector_type == VectorType::kInt8) return pair_terms(0, sum, false);
  return pair_terms(-128 * sum - 8192 * static_cast<std::int32_t>(graph.dim), sum, false);
}

void hold_byte_query(const Graph& graph, VectorsView queries, std::size_t i, SearchScratch& scratch) {
  store(graph, queries, i, scratch.byte_row.data());
  hold(graph, scratch.byte_row.data(), byte_terms(graph, scratch.byte_row.data()), scratch);
}

void hold_byte_query(const Graph& graph, std::uint32_t node, SearchScratch& scratch) {
  hold(graph, graph.codes.row(node), graph.code_terms[node], scratch);
}

const char* type_name(VectorType type) {
  return type == VectorType::kFloat32 ? "float32" : type == VectorType::kInt8 ? "int8" : "uint8";
}

}  // namespace whimbrel
