// LemurEncoder: a document becomes the weights that predict its MaxSim from random features of a query token,
// fitted by least squares; a query becomes the sum of its features. Nothing is trained by gradients.
//
// Jääsaari, Hyvönen, Roos, "LEMUR" (arXiv 2601.21853, 2026): the variant with random features ("ELM"). With
// g_P(x) = max over p in P of <x, p>, MaxSim(Q, P) is the sum of g_P over the tokens of Q, so a linear model
// g_P(x) ~ <features(x), w_P> makes it an inner product of two vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/progress.hpp"
#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

struct LemurParams {
  std::size_t width = 1024;  ///< features, the length of an encoding. 2..16,384
  /// Of the least squares, as a share of the mean eigenvalue of the features' covariance. Above 0.
  double ridge = 1e-2;
  std::uint64_t seed = 0;
};

struct LemurOptions {
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in sets
};

/// Encodings have the same bits for any thread count, instruction set and batch, and every method may be
/// called from several threads at once. Costs per document: (sample size) x (its tokens) x dim operations for
/// the targets and (sample size) x width for the fit.
class WHIMBREL_API LemurEncoder {
 public:
  /// `sample`: tokens like those of queries or documents, as many as the model is to be fitted on, 4 times
  /// `width` or more; kept. Only their directions count.
  /// @throws std::invalid_argument a parameter out of range, no sample, values that are not finite
  LemurEncoder(MatrixView<const float> sample, const LemurParams& params, const LemurOptions& options = {});
  ~LemurEncoder();
  LemurEncoder(LemurEncoder&&) noexcept;
  LemurEncoder& operator=(LemurEncoder&&) noexcept;

  /// (documents.size(), width), C order. A set without tokens becomes zeros.
  /// @throws std::invalid_argument wrong columns, bad offsets, non-finite value
  void encode_documents(const RaggedView& documents, const LemurOptions& options, float* out) const;
  void encode_queries(const RaggedView& queries, const LemurOptions& options, float* out) const;

  const LemurParams& params() const noexcept;
  std::size_t dim() const noexcept;
  /// A line of text that says all that an encoding depends on, the sample by its checksum.
  std::string fingerprint() const;

 private:
  class Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace whimbrel
