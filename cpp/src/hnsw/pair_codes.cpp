// Codes to build on: learned from a sample, judged by it, and the terms that make distances of them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/hooks.hpp"
#include "base/parallel.hpp"
#include "hnsw/points.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kSample = 512;
/// Largest mean squared error of a code, relative to the median squared distance of a sampled point to its
/// nearest in the sample. Sentence embeddings and images are near 1e-3. Most of the error is across the
/// distance that is measured.
constexpr double kMaxRelativeError = 5e-3;
/// Terms of inner products beyond it might overflow.
constexpr double kMaxTerm = 1 << 28;

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
    codes.rows = BlockRows<std::uint8_t>(quantizer_.stride());
    codes.rows.resize(graph_.size());
    codes.terms.resize(graph_.size());
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
    codes.code_dim = graph_.dim;
    return codes;
  }

 private:
  /// What code 128 stands for in coordinate c.
  float origin(std::size_t c) const {
    return quantizer_.center[c] + quantizer_.middle[c] + quantizer_.step / 2;
  }

  /// With codes less 128 as e and f: |e - f|^2 = |e|^2 + |f|^2 - 2 e.f. With o the origin in steps, the
  /// product of two vectors in square steps is o.o + o.e + o.f + e.f; the part of one code is rounded to a
  /// whole number.
  kernels::CodeTerms terms(const std::uint8_t* code) const {
    std::int32_t sum = 0, squares = 0;
    for (std::size_t c = 0; c < graph_.dim; ++c) {
      const std::int32_t e = code[c] - 128;
      sum += e;
      squares += e * e;
    }
    if (l2_) return pair_terms(squares, sum, true);
    double product = 0;
    for (std::size_t c = 0; c < graph_.dim; ++c) product += static_cast<double>(origin(c)) * (code[c] - 128);
    return pair_terms(-static_cast<std::int32_t>(product / static_cast<double>(quantizer_.step)), sum, false);
  }

  bool precise_enough() const {
    double largest = 0;  // product of the origin with a code, in square steps
    for (std::size_t c = 0; c < graph_.dim; ++c)
      largest += 128 * std::abs(static_cast<double>(origin(c))) / static_cast<double>(quantizer_.step);
    if (!l2_ && !(largest < kMaxTerm)) return false;
    const auto l2 = kernels::active_table().l2.canonical;
    ScalarQuantizer::Scratch scratch(quantizer_);
    std::vector<std::uint8_t> code(quantizer_.stride());
    std::vector<float> nearest(kSample);
    double error = 0;
    for (std::size_t i = 0; i < kSample; ++i) {
      const float* row = sampled(i);
      quantizer_.encode(row, scratch, code.data());
      for (std::size_t c = 0; c < graph_.dim; ++c) {
        const double e = static_cast<double>(row[c]) - static_cast<double>(origin(c)) -
                         static_cast<double>(quantizer_.step) * (code[c] - 128);
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
