// Codes to build on: learned from a sample, judged by it, and the terms that make distances of them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/hooks.hpp"
#include "base/parallel.hpp"
#include "hnsw/pair_terms.hpp"
#include "hnsw/points.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kSample = 512, kMinProjected = 32768;
/// Largest mean squared error of a code, relative to the median squared distance of a sampled point to its
/// nearest in the sample. Sentence embeddings and images are near 1e-3. Most of the error is across the
/// distance that is measured.
constexpr double kMaxRelativeError = 5e-3;

class Encoding {
 public:
  Encoding(const Graph& graph, std::size_t threads)
      : graph_(graph), threads_(threads), l2_(graph.params.metric != Metric::kIp) {}

  PairCodes run() {
    PairCodes codes;
    if (graph_.size() < kSample || graph_.dim > kernels::kMaxPairBytes) return codes;
    n_sampled_ = std::min(graph_.size(), kMaxTraining);
    sample_ = AlignedArray<float>(n_sampled_ * graph_.dim);
    std::vector<float> scratch_row(graph_.padded_dim());
    for (std::size_t i = 0; i < n_sampled_; ++i) {
      const auto node = static_cast<std::uint32_t>(i * graph_.size() / n_sampled_);
      std::copy_n(stored_row(graph_, node, scratch_row.data()), graph_.dim, sample_.data() + i * graph_.dim);
    }
    quantizer_ = fit_quantizer({sample_.data(), n_sampled_, graph_.dim}, l2_);
    if (quantizer_.empty() || !precise_enough()) {
      log_line([] { return "hnsw: codes would blur the neighborhoods, the build measures the vectors"; });
      return codes;
    }
    // Learning a projection takes as long as linking a few thousand vectors.
    if (l2_ && graph_.size() >= kMinProjected) {
      ScalarQuantizer narrow = fit_narrow_quantizer({sample_.data(), n_sampled_, graph_.dim}, threads_);
      if (!narrow.empty()) quantizer_ = std::move(narrow);
    }
    codes.rows = BlockRows<std::uint8_t>(quantizer_.stride());
    codes.rows.resize(graph_.size());
    codes.terms.resize(graph_.size());
    const PairTerms terms(quantizer_, graph_.params.metric);
    constexpr std::size_t kRows = 1024;
    parallel_for((graph_.size() + kRows - 1) / kRows, threads_, [&](std::size_t item, std::size_t) {
      ScalarQuantizer::Scratch scratch(quantizer_);
      std::vector<float> row(graph_.padded_dim());
      for (std::size_t i = item * kRows; i < std::min(graph_.size(), (item + 1) * kRows); ++i) {
        quantizer_.encode(stored_row(graph_, static_cast<std::uint32_t>(i), row.data()), scratch,
                          codes.rows.row(i));
        codes.terms[i] = terms(codes.rows.row(i));
      }
    });
    codes.layout = quantizer_.layout();
    return codes;
  }

 private:
  bool precise_enough() const {
    if (!PairTerms(quantizer_, graph_.params.metric).fit()) return false;
    const auto l2 = kernels::active_table().l2.canonical;
    ScalarQuantizer::Scratch scratch(quantizer_);
    std::vector<std::uint8_t> code(quantizer_.stride());
    std::vector<float> nearest(kSample), decoded(graph_.dim);
    double error = 0;
    for (std::size_t i = 0; i < kSample; ++i) {
      const float* row = sampled(i);
      quantizer_.encode(row, scratch, code.data());
      quantizer_.decode(code.data(), decoded.data());
      for (std::size_t c = 0; c < graph_.dim; ++c) {
        const double e = static_cast<double>(row[c]) - static_cast<double>(decoded[c]);
        error += e * e;
      }
      nearest[i] = std::numeric_limits<float>::infinity();
      for (std::size_t j = 0; j < kSample; ++j) {
        const float distance = l2(row, sampled(j), graph_.dim);
        if (distance > 0) nearest[i] = std::min(nearest[i], distance);
      }
    }
    std::nth_element(nearest.begin(), nearest.begin() + kSample / 2, nearest.end());
    const double median = nearest[kSample / 2];
    return std::isfinite(median) && error / kSample < kMaxRelativeError * median;
  }

  const float* sampled(std::size_t i) const { return sample_.data() + i * n_sampled_ / kSample * graph_.dim; }

  const Graph& graph_;
  std::size_t threads_;
  bool l2_;  // cosine too: its vectors have one length
  std::size_t n_sampled_ = 0;
  AlignedArray<float> sample_;
  ScalarQuantizer quantizer_;
};

}  // namespace

PairCodes encode_pairs(const Graph& graph, std::size_t threads) {
  if (graph.measured_once() || graph.only_codes()) return {};
  return Encoding(graph, threads).run();
}

}  // namespace whimbrel
