#include "cur/query.hpp"

#include <algorithm>
#include <cmath>

#include "base/parallel.hpp"
#include "cur/first_stage.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Passes over less than this many values do not wake other threads.
constexpr std::size_t kSerialValues = std::size_t{1} << 18;

std::size_t pass_threads(const ItemFeatures& features, std::size_t threads) {
  return features.size() * features.stride() < kSerialValues ? 1 : threads;
}

/// fn(worker, first, n) for the chunks of all items.
template <class Fn>
void for_each_chunk(const ItemFeatures& features, std::size_t threads, const Fn& fn) {
  const std::size_t rows = features.chunk_rows();
  parallel_for(features.chunks(), pass_threads(features, threads),
               [&](std::size_t chunk, std::size_t worker) {
                 const std::size_t first = chunk * rows;
                 fn(worker, first, std::min(rows, features.size() - first));
               });
}

/// Best of all workers: each has seen its items by increasing id, so the result is exact in ids too.
ScoredList merge(std::vector<TopK>& found) {
  for (std::size_t w = 1; w < found.size(); ++w) found[0].merge(found[w]);
  return found[0].finish();
}

}  // namespace

QueryPrior::QueryPrior(const CurIndex::Impl& index, std::span<const float> first_stage) : index_(index) {
  if (first_stage.empty()) return;
  const std::size_t n = index.size();
  offset_.resize(n);
  slope_.resize(n);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double x =
        static_cast<double>(first_stage[i]) - (index.has_first_stage() ? index.first_mean[i] : 0.0f);
    slope_[i] = static_cast<float>(x);
    sum += x;
    squares += x * x;
  }
  const double mean = sum / static_cast<double>(n);
  const double deviation = std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
  // As strong as the typical feature row, so that mu weighs it like the rest.
  const double unit = deviation > 0 ? std::sqrt(index.scale) / deviation : 0;
  if (index.first_gain > 0) lend();
  for (std::size_t i = 0; i < n; ++i) {
    offset_[i] = static_cast<float>(index.mean[i] + index.slope * slope_[i]);
    slope_[i] = static_cast<float>((slope_[i] - mean) * unit);
  }
}

void QueryPrior::lend() {
  const auto count = static_cast<std::size_t>(index_.first_sample.cols());
  Eigen::VectorXf x(index_.first_sample.cols());
  for (std::size_t s = 0; s < count; ++s) x[static_cast<Index>(s)] = slope_[sample_item(index_, s)];
  lent_ = anchor_weights(index_, x);
  if (index_.projection.size() > 0) lent_ = index_.projection.transpose() * lent_;
  double sum = 0, squares = 0;
  for (std::size_t s = 0; s < count; ++s) {
    const double predicted = lent_score(sample_item(index_, s));
    sum += predicted;
    squares += predicted * predicted;
  }
  lent_mean_ = sum / static_cast<double>(count);
  const double variance = squares / static_cast<double>(count) - lent_mean_ * lent_mean_;
  lent_unit_ = variance > 0 ? std::sqrt(index_.scale / variance) : 0;
}

double QueryPrior::lent_score(std::size_t i) const {
  if (lent_.size() == 0) return 0;
  Eigen::VectorXf row(lent_.size());
  index_.features.row(i, row.data());
  return lent_.dot(row.cast<double>());
}

double QueryPrior::expected(std::int64_t item_id) const {
  const auto i = static_cast<std::size_t>(item_id);
  return offset(i) + lent_score(i);
}

std::size_t QueryPrior::dim() const noexcept {
  return index_.features.dim() + (index_.params.intercept ? 1 : 0) + (slope_.empty() ? 0 : 1) +
         (lent_.size() > 0 ? 1 : 0);
}

MatrixXd QueryPrior::rows(std::span<const std::int64_t> item_ids) const {
  const std::size_t dim = index_.features.dim();
  MatrixXd out(static_cast<Index>(item_ids.size()), static_cast<Index>(this->dim()));
  Eigen::VectorXf row(static_cast<Index>(dim));
  for (std::size_t r = 0; r < item_ids.size(); ++r) {
    const auto i = static_cast<std::size_t>(item_ids[r]);
    index_.features.row(i, row.data());
    auto values = out.row(static_cast<Index>(r));
    values.head(static_cast<Index>(dim)) = row.cast<double>().transpose();
    auto next = static_cast<Index>(dim);
    if (index_.params.intercept) values[next++] = std::sqrt(index_.scale);
    if (!slope_.empty()) values[next++] = slope_[i];
    if (lent_.size() > 0) values[next] = (lent_.dot(row.cast<double>()) - lent_mean_) * lent_unit_;
  }
  return out;
}

QueryWeights::QueryWeights(const QueryPrior& prior, const VectorXd& y)
    : query(prior.index().features.stride()) {
  const CurIndex::Impl& index = prior.index();
  auto next = static_cast<Index>(index.features.dim());
  const Index dim = next;
  double shift = index.params.intercept ? y[next++] * std::sqrt(index.scale) : 0;
  if (prior.slopes() != nullptr) tilt = static_cast<float>(y[next++]);
  double lent = 0;
  if (prior.lent().size() > 0) {
    lent = 1 + y[next] * prior.lent_unit();
    shift -= y[next] * prior.lent_unit() * prior.lent_mean();
  }
  for (Index j = 0; j < dim; ++j)
    query[static_cast<std::size_t>(j)] = static_cast<float>(lent != 0 ? y[j] + lent * prior.lent()[j] : y[j]);
  constant = static_cast<float>(shift);
}

void score_chunk(const QueryPrior& prior, const QueryWeights& weights, std::size_t first, std::size_t n,
                 float* out) {
  prior.index().features.dots(weights.query.data(), first, n, out);
  const float* offsets = prior.offsets() + first;
  for (std::size_t i = 0; i < n; ++i) out[i] = offsets[i] + out[i] + weights.constant;
  if (prior.slopes() == nullptr) return;
  const float* slopes = prior.slopes() + first;
  for (std::size_t i = 0; i < n; ++i) out[i] += weights.tilt * slopes[i];
}

void score_all(const QueryPrior& prior, const QueryWeights& weights, std::size_t threads, float* out) {
  for_each_chunk(prior.index().features, threads, [&](std::size_t, std::size_t first, std::size_t n) {
    score_chunk(prior, weights, first, n, out + first);
  });
}

ScoredList best_items(const QueryPrior& prior, const QueryWeights& weights, std::size_t k,
                      std::span<const std::uint8_t> blocked, std::size_t threads,
                      const Perturbation& perturb) {
  std::vector<TopK> found(threads, TopK(std::max<std::size_t>(1, std::min(k, prior.index().size()))));
  for_each_chunk(prior.index().features, threads, [&](std::size_t worker, std::size_t first, std::size_t n) {
    float scores[ItemFeatures::kChunkRows];
    score_chunk(prior, weights, first, n, scores);
    if (perturb) perturb(first, n, scores);
    TopK& best = found[worker];
    for (std::size_t i = 0; i < n; ++i)
      if (-scores[i] < best.bound() && blocked[first + i] == 0)
        best.push(-scores[i], static_cast<std::uint32_t>(first + i));
  });
  ScoredList best = merge(found);
  best.resize(std::min(k, best.size()));
  return best;
}

}  // namespace whimbrel
