#include "hnsw/codes.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/pair_terms.hpp"
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

}  // namespace

void hold_code_query(const Graph& graph, SearchScratch& scratch) {
  if (!scratch.codes) scratch.codes.emplace(graph.quantizer);
  std::uint8_t* code = scratch.byte_row.data();
  graph.quantizer.encode(scratch.query.data(), *scratch.codes, code);
  const PairTerms terms(graph.quantizer, graph.params.metric);
  scratch.point = pair_point(code, graph.quantizer.layout(), scratch.byte_values.data(), graph.codes.stride(),
                             terms(code));
}

CountedVector<kernels::CodeTerms> code_terms(const ScalarQuantizer& quantizer, Metric metric,
                                             const BlockRows<std::uint8_t>& codes) {
  CountedVector<kernels::CodeTerms> out;
  const PairTerms terms(quantizer, metric);
  if (!terms.fit()) return out;
  out.resize(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) out[i] = terms(codes.row(i));
  return out;
}

LearnedCodes encode_new_rows(Graph& graph, std::size_t threads, SliceMutex& state) {
  LearnedCodes learned;
  if (!graph.quantizer.empty()) {  // searches come to the new rows before new codes are in use
    const std::size_t first = graph.codes.size();
    graph.codes.prepare(graph.size());
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
      learned.vectors = BlockRows<float>(graph.vectors.stride());
      if (learned.terms.empty()) {
        learned.quantizer = {};
        learned.codes.resize(0);
      }
    }
  }
  return learned;
}

bool use_codes(Graph& graph, LearnedCodes& learned) noexcept {
  if (learned.trained_size == 0) return false;
  std::swap(graph.quantizer, learned.quantizer);
  std::swap(graph.codes, learned.codes);
  std::swap(graph.code_terms, learned.terms);
  if (graph.only_codes()) std::swap(graph.vectors, learned.vectors);
  graph.trained_size = learned.trained_size;
  return true;
}

}  // namespace whimbrel
