#include "hnsw/codes.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/points.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

/// Fewer vectors are searched as they are: they fit in a cache, and are too few to learn from.
constexpr std::size_t kMinTraining = 1024, kMinTrainingAuto = 8192;
/// A quantizer is learned again when there are so many times the vectors it was learned from. The work of
/// encoding all of them again stays below a third of an encoding per vector.
constexpr std::size_t kRetrainGrowth = 4;

bool has_to_train(const Graph& graph) {
  if (graph.params.codec == Codec::kF32 || graph.params.codec == Codec::kF16) return false;
  if (graph.only_codes()) return false;  // of what they were learned from, nothing else is left
  if (graph.trained_size > 0) return graph.size() / kRetrainGrowth >= graph.trained_size;
  return graph.size() >= (graph.params.codec == Codec::kAuto ? kMinTrainingAuto : kMinTraining);
}

ScalarQuantizer train(const Graph& graph, std::size_t threads) {
  const std::size_t n = std::min(graph.size(), kMaxTraining);
  AlignedArray<float> sample(n * graph.dim);
  std::vector<float> row(graph.padded_dim());
  for (std::size_t i = 0; i < n; ++i)
    std::copy_n(stored_row(graph, static_cast<std::uint32_t>(i * graph.size() / n), row.data()), graph.dim,
                sample.data() + i * graph.dim);
  return train_scalar_quantizer({sample.data(), n, graph.dim}, graph.params.metric, graph.params.codec,
                                threads);
}

/// Encode rows [first, codes.size()) in place.
void encode_rows(const Graph& graph, const ScalarQuantizer& quantizer, std::size_t first,
                 BlockRows<std::uint8_t>& codes, std::size_t threads) {
  constexpr std::size_t kRows = 1024;
  parallel_for((codes.size() - first + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
    ScalarQuantizer::Scratch scratch(quantizer);
    std::vector<float> row(graph.padded_dim());
    for (std::size_t i = first + item * kRows; i < std::min(codes.size(), first + (item + 1) * kRows); ++i)
      quantizer.encode(stored_row(graph, static_cast<std::uint32_t>(i), row.data()), scratch, codes.row(i));
  });
}

/// Terms of one code; `origin` is null but for inner products.
kernels::CodeTerms terms_of(const std::uint8_t* code, std::size_t code_dim, const double* origin) {
  std::int32_t sum = 0, squares = 0;
  double product = 0;
  for (std::size_t c = 0; c < code_dim; ++c) {
    const std::int32_t e = code[c] - 128;
    sum += e;
    squares += e * e;
    if (origin != nullptr) product += origin[c] * e;
  }
  return origin == nullptr ? pair_terms(squares, sum, true)
                           : pair_terms(-static_cast<std::int32_t>(product), sum, false);
}

/// Empty but for inner products.
std::vector<double> product_origin(const ScalarQuantizer& quantizer, Metric metric) {
  return metric == Metric::kIp ? quantizer.origin() : std::vector<double>();
}

}  // namespace

void encode_row(Graph& graph, std::uint32_t node, const float* stored) {
  ScalarQuantizer::Scratch scratch(graph.quantizer);
  graph.quantizer.encode(stored, scratch, graph.codes.row(node));
  const auto origin = product_origin(graph.quantizer, graph.params.metric);
  graph.code_terms[node] =
      terms_of(graph.codes.row(node), graph.quantizer.code_dim, origin.empty() ? nullptr : origin.data());
}

void hold_code_query(const Graph& graph, SearchScratch& scratch) {
  if (!scratch.codes) scratch.codes.emplace(graph.quantizer);
  std::uint8_t* code = scratch.byte_row.data();
  graph.quantizer.encode(scratch.query.data(), *scratch.codes, code);
  const auto origin = product_origin(graph.quantizer, graph.params.metric);
  std::int8_t* values = scratch.byte_values.data();
  for (std::size_t c = 0, n = graph.quantizer.code_dim; c < n; ++c)
    values[c] = static_cast<std::int8_t>(code[c] ^ 0x80u);  // less 128
  const auto terms = terms_of(code, graph.quantizer.code_dim, origin.empty() ? nullptr : origin.data());
  scratch.point = {values, graph.codes.stride(), terms.point};
}

CountedVector<kernels::CodeTerms> code_terms(const ScalarQuantizer& quantizer, Metric metric,
                                             const BlockRows<std::uint8_t>& codes) {
  constexpr double kMaxTerm = 1 << 28;
  const auto origin = product_origin(quantizer, metric);
  double largest = 0;
  for (const double o : origin) largest += 128 * std::abs(o);
  CountedVector<kernels::CodeTerms> terms;
  if (!(largest < kMaxTerm) || codes.stride() > kernels::kMaxPairBytes) return terms;
  terms.resize(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    terms[i] = terms_of(codes.row(i), quantizer.code_dim, origin.empty() ? nullptr : origin.data());
  return terms;
}

LearnedCodes encode_new_rows(Graph& graph, std::size_t threads, SliceMutex& state) {
  LearnedCodes learned;
  if (!graph.quantizer.empty()) {  // searches come to the new rows before new codes are in use
    const std::size_t first = graph.codes.size();
    state.change([&] { graph.codes.resize(graph.size()); });
    encode_rows(graph, graph.quantizer, first, graph.codes, threads);
  }
  if (has_to_train(graph)) {
    learned.quantizer = train(graph, threads);
    learned.trained_size = graph.size();
    if (learned.quantizer.empty()) return learned;
    learned.codes = BlockRows<std::uint8_t>(learned.quantizer.stride());
    learned.codes.resize(graph.size());
    encode_rows(graph, learned.quantizer, 0, learned.codes, threads);
    if (graph.params.rerank == Rerank::kNone) {
      learned.terms = code_terms(learned.quantizer, graph.params.metric, learned.codes);
      if (learned.terms.empty()) {
        learned.quantizer = {};
        learned.codes.resize(0);
      }
    }
  }
  return learned;
}

bool use_codes(Graph& graph, LearnedCodes&& learned) noexcept {
  if (learned.trained_size == 0) return false;
  graph.quantizer = std::move(learned.quantizer);
  graph.codes = std::move(learned.codes);
  graph.code_terms = std::move(learned.terms);
  if (graph.only_codes()) graph.vectors.resize(0);
  graph.trained_size = learned.trained_size;
  return true;
}

}  // namespace whimbrel
