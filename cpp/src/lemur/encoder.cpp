#include "whimbrel/lemur.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.hpp"
#include "base/cholesky.hpp"
#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"
#include "lemur/features.hpp"
#include "whimbrel/maxsim.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kMaxWidth = 16384;
/// Documents whose targets are in memory at once.
constexpr std::size_t kBlock = 64;
/// Products of float vectors are summed in double after so many terms.
constexpr std::size_t kRun = 1024;

LemurParams checked(const LemurParams& params) {
  if (params.width < 2 || params.width > kMaxWidth)
    throw std::invalid_argument("width: expected 2..16384, got " + std::to_string(params.width));
  if (!(params.ridge > 0) || !std::isfinite(params.ridge))
    throw std::invalid_argument("ridge: expected a number above 0, got " + std::to_string(params.ridge));
  return params;
}

}  // namespace

class LemurEncoder::Impl {
 public:
  Impl(MatrixView<const float> sample, const LemurParams& params, const LemurOptions& options)
      : params_(checked(params)),
        n_(sample.rows),
        dim_(sample.cols),
        tokens_(n_ * dim_),
        features_(dim_, params_.width, params_.seed),
        columns_(params_.width * n_),
        singles_(n_ + 1),
        model_(fit(sample, options)) {}

  void encode_documents(const RaggedView& documents, const LemurOptions& options, float* out) const {
    const std::size_t threads = resolve_threads(options.threads), width = params_.width;
    check_cols("documents", documents.tokens, dim_);
    check_ragged("documents", documents, threads);
    ProgressMeter meter(options.progress, documents.size());
    CountedVector<float> targets;
    for (std::size_t first = 0; first < documents.size(); first += kBlock) {
      const std::size_t n_docs = std::min(kBlock, documents.size() - first);
      std::vector<std::int64_t> offsets;
      offsets.reserve(n_docs + 1);
      for (std::size_t i = 0; i <= n_docs; ++i)
        offsets.push_back(documents.offsets[first + i] - documents.offsets[first]);
      const RaggedView block{{documents.tokens.row(documents.begin(first)),
                              static_cast<std::size_t>(offsets.back()), dim_, documents.tokens.stride},
                             offsets};
      targets.resize(n_ * n_docs);
      const RaggedView queries{{tokens_.data(), n_, dim_}, singles_};
      const ProgressFn poll = [&](std::size_t, std::size_t) { meter.update(first); };
      maxsim_matrix(queries, block, {.threads = threads, .progress = poll}, targets.data());
      parallel_for(n_docs, threads, [&](std::size_t doc, std::size_t) {
        float* row = out + (first + doc) * width;
        std::fill_n(row, width, 0.0f);
        if (block[doc].rows > 0) encode_document(targets.data() + doc, n_docs, row);
      });
      meter.update(first + n_docs);
    }
    meter.finish();
  }

  void encode_queries(const RaggedView& queries, const LemurOptions& options, float* out) const {
    const std::size_t threads = resolve_threads(options.threads), width = params_.width;
    check_cols("queries", queries.tokens, dim_);
    check_ragged("queries", queries, threads);
    ProgressMeter meter(options.progress, queries.size());
    parallel_for(
        queries.size(), threads,
        [&](std::size_t q, std::size_t) {
          std::vector<double> token(width), sum(width);
          for (std::size_t i = 0; i < queries[q].rows; ++i) {
            features_.compute(queries[q].row(i), token.data());
            for (std::size_t j = 0; j < width; ++j) sum[j] += token[j];
          }
          std::transform(sum.begin(), sum.end(), out + q * width,
                         [](double x) { return static_cast<float>(x); });
        },
        [&](std::size_t done) { meter.update(done); });
    meter.finish();
  }

  const LemurParams& params() const noexcept { return params_; }
  std::size_t dim() const noexcept { return dim_; }

  std::string fingerprint() const {
    Xxh64 checksum;
    checksum.update(tokens_.data(), n_ * dim_ * sizeof(float));
    return "lemur dim=" + std::to_string(dim_) + " width=" + std::to_string(params_.width) +
           " ridge=" + std::to_string(params_.ridge) + " seed=" + std::to_string(params_.seed) +
           " sample=" + std::to_string(n_) + ":" + std::to_string(checksum.digest());
  }

 private:
  /// The covariance of the sample's features, factored.
  Cholesky fit(MatrixView<const float> sample, const LemurOptions& options) {
    const std::size_t threads = resolve_threads(options.threads), width = params_.width;
    if (n_ == 0) throw std::invalid_argument("sample: expected tokens, got none");
    check_finite("sample", sample, threads);
    std::iota(singles_.begin(), singles_.end(), std::int64_t{0});
    parallel_for(n_, threads, [&](std::size_t i, std::size_t) {
      float* token = tokens_.data() + i * dim_;
      normalize(sample.row(i), dim_, token);
      std::vector<double> features(width);
      features_.compute(token, features.data());
      for (std::size_t j = 0; j < width; ++j) columns_.data()[j * n_ + i] = static_cast<float>(features[j]);
    });
    std::vector<double> covariance(width * width);
    ProgressMeter meter(options.progress, width);
    parallel_for(
        width, threads,
        [&](std::size_t i, std::size_t) {
          for (std::size_t j = 0; j <= i; ++j)
            covariance[i * width + j] = product(columns_.data() + i * n_, columns_.data() + j * n_);
        },
        [&](std::size_t done) { meter.update(done); });
    double trace = 0;
    for (std::size_t j = 0; j < width; ++j) trace += covariance[j * width + j];
    const double ridge = params_.ridge * trace / static_cast<double>(width);
    for (std::size_t j = 0; j < width; ++j) covariance[j * width + j] += std::max(ridge, 1e-30);
    Cholesky model(std::move(covariance), width, threads);
    meter.finish();
    return model;
  }

  double product(const float* a, const float* b) const {
    double sum = 0;
    for (std::size_t i = 0; i < n_; i += kRun)
      sum -= table_.ip.canonical(a + i, b + i, std::min(kRun, n_ - i));
    return sum;
  }

  /// From the document's target of each token of the sample, `stride` apart.
  void encode_document(const float* targets, std::size_t stride, float* out) const {
    std::vector<float> target(n_);
    for (std::size_t i = 0; i < n_; ++i) target[i] = targets[i * stride];
    std::vector<double> weights(params_.width);
    for (std::size_t j = 0; j < weights.size(); ++j)
      weights[j] = product(columns_.data() + j * n_, target.data());
    model_.solve(weights.data());
    std::transform(weights.begin(), weights.end(), out, [](double x) { return static_cast<float>(x); });
  }

  const kernels::KernelTable& table_ = kernels::active_table();
  LemurParams params_;
  std::size_t n_, dim_;
  AlignedArray<float> tokens_;  // of the sample, of unit length
  RandomFeatures features_;
  AlignedArray<float> columns_;        // features of the sample, (width, n)
  std::vector<std::int64_t> singles_;  // offsets of queries of one token
  Cholesky model_;
};

LemurEncoder::LemurEncoder(MatrixView<const float> sample, const LemurParams& params,
                           const LemurOptions& options)
    : impl_(std::make_unique<const Impl>(sample, params, options)) {}
LemurEncoder::~LemurEncoder() = default;
LemurEncoder::LemurEncoder(LemurEncoder&&) noexcept = default;
LemurEncoder& LemurEncoder::operator=(LemurEncoder&&) noexcept = default;

void LemurEncoder::encode_documents(const RaggedView& documents, const LemurOptions& options,
                                    float* out) const {
  impl_->encode_documents(documents, options, out);
}
void LemurEncoder::encode_queries(const RaggedView& queries, const LemurOptions& options, float* out) const {
  impl_->encode_queries(queries, options, out);
}
const LemurParams& LemurEncoder::params() const noexcept { return impl_->params(); }
std::size_t LemurEncoder::dim() const noexcept { return impl_->dim(); }
std::string LemurEncoder::fingerprint() const { return impl_->fingerprint(); }

}  // namespace whimbrel
