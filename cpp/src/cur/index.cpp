// CurIndex: what it holds, and the calls that predict.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/parallel.hpp"
#include "base/vectors.hpp"
#include "cur/impl.hpp"
#include "cur/query.hpp"
#include "cur/regression.hpp"
#include "cur/symmetric_eigen.hpp"

namespace whimbrel {
namespace {

using Scores = MatrixView<const float>;

void check_query_arguments(const CurIndex::Impl& index, std::span<const std::int64_t> item_ids, Scores scores,
                           Scores first_stage, const CurQueryOptions& options) {
  check_items(item_ids, index.size());
  check_shape("scores", scores, scores.rows, item_ids.size());
  if (first_stage.data != nullptr) {
    check_shape("first_stage", first_stage, scores.rows, index.size());
  } else if (index.has_first_stage()) {
    throw std::invalid_argument("first_stage: expected scores of all items, as in fit, got none");
  }
  if (std::isnan(options.mu) || std::isinf(options.mu))
    throw std::invalid_argument("mu: expected a finite number, got " + std::to_string(options.mu));
}

/// fn(q, prior, weights) for each query.
template <class Fn>
void for_each_query(const CurIndex::Impl& index, std::span<const std::int64_t> item_ids, Scores scores,
                    Scores first_stage, const CurQueryOptions& options, const Fn& fn) {
  // Queries without a first stage of their own share rows and factors: one for each mu, of a small grid.
  std::optional<QueryPrior> prior;
  std::map<double, Regression> by_mu;
  std::optional<Regression> rows;
  for (std::size_t q = 0; q < scores.rows; ++q) {
    if (q == 0 || first_stage.data != nullptr) {
      prior.emplace(index, first_stage.data == nullptr ? std::span<const float>() : first_stage.row_span(q));
      rows.emplace(prior->dim(), index.scale).add(prior->rows(item_ids));
      by_mu.clear();
    }
    std::vector<double> targets(item_ids.size());
    for (std::size_t i = 0; i < targets.size(); ++i)
      targets[i] = static_cast<double>(scores.row(q)[i]) - prior->expected(item_ids[i]);
    const double mu = options.mu >= 0 ? options.mu : rows->choose_mu(targets);
    Regression& regression = by_mu.try_emplace(mu, *rows).first->second;
    regression.set_mu(mu);
    fn(q, *prior, QueryWeights(*prior, regression.solve(targets)));
  }
}

void write_best(const ScoredList& best, std::size_t k, std::int64_t* ids, float* out) {
  for (std::size_t i = 0; i < k; ++i) {
    ids[i] = i < best.size() ? static_cast<std::int64_t>(best[i].id) : -1;
    out[i] = i < best.size() ? -best[i].score : -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

CurIndex::CurIndex(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
CurIndex::~CurIndex() = default;
CurIndex::CurIndex(CurIndex&&) noexcept = default;
CurIndex& CurIndex::operator=(CurIndex&&) noexcept = default;

std::size_t CurIndex::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->size();
}
std::size_t CurIndex::n_removed() const {
  const std::shared_lock lock(impl_->mutex);
  return static_cast<std::size_t>(std::count(impl_->removed.begin(), impl_->removed.end(), 1));
}
std::size_t CurIndex::n_queries() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->n_queries;
}
std::size_t CurIndex::dim() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->features.dim();
}
bool CurIndex::has_first_stage() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->has_first_stage();
}
CurParams CurIndex::params() const { return impl_->params; }
std::size_t CurIndex::memory_usage() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->features.bytes() + (impl_->mean.size() + impl_->first_mean.size()) * sizeof(float) +
         impl_->removed.size() + static_cast<std::size_t>(impl_->projection.size()) * sizeof(double) +
         static_cast<std::size_t>(impl_->first_sample.size()) * sizeof(float) +
         static_cast<std::size_t>(impl_->first_factor.size()) * sizeof(double);
}
std::vector<float> CurIndex::item_means() const {
  const std::shared_lock lock(impl_->mutex);
  return {impl_->mean.begin(), impl_->mean.end()};
}

void CurIndex::item_vectors(std::span<float> out) const {
  const std::shared_lock lock(impl_->mutex);
  const std::size_t dim = impl_->features.dim(), width = dim + 1;
  if (out.size() != impl_->size() * width)
    throw std::invalid_argument("out: expected " + std::to_string(impl_->size() * width) + " values, got " +
                                std::to_string(out.size()));
  // A constant in all of them says nothing, and would make all items alike to a graph.
  const double average = average_mean(*impl_);
  for (std::size_t i = 0; i < impl_->size(); ++i) {
    impl_->features.row(i, out.data() + i * width);
    out[i * width + dim] = static_cast<float>(impl_->mean[i] - average);
  }
}

std::vector<double> CurIndex::singular_values(std::size_t threads) const {
  const std::shared_lock lock(impl_->mutex);
  const ItemFeatures& features = impl_->features;
  const Eigen::MatrixXd gram =
      sample_gram(features.size(), features.dim(), kSampleItems, resolve_threads(threads),
                  [&](std::size_t i, float* out) { features.row(i, out); });
  const SymmetricEigen eigen = symmetric_eigen(gram, false);
  std::vector<double> values(features.dim());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::sqrt(std::max(0.0, eigen.values[static_cast<Eigen::Index>(values.size() - 1 - i)]));
  return values;
}

void CurIndex::remove(std::span<const std::int64_t> item_ids) {
  const std::unique_lock lock(impl_->mutex);
  check_items(item_ids, impl_->size());
  for (const std::int64_t id : item_ids) impl_->removed[static_cast<std::size_t>(id)] = 1;
  ++impl_->changes;
}

void CurIndex::approximate(std::span<const std::int64_t> item_ids, Scores scores, Scores first_stage,
                           const CurQueryOptions& options, std::span<float> out) const {
  const std::shared_lock lock(impl_->mutex);
  check_query_arguments(*impl_, item_ids, scores, first_stage, options);
  if (out.size() != scores.rows * impl_->size())
    throw std::invalid_argument("out: expected " + std::to_string(scores.rows * impl_->size()) +
                                " values, got " + std::to_string(out.size()));
  const std::size_t threads = resolve_threads(options.threads);
  for_each_query(*impl_, item_ids, scores, first_stage, options,
                 [&](std::size_t q, const QueryPrior& prior, const QueryWeights& weights) {
                   score_all(prior, weights, threads, out.data() + q * impl_->size());
                 });
}

void CurIndex::retrieve(std::span<const std::int64_t> item_ids, Scores scores, Scores first_stage,
                        std::size_t k, bool exclude_scored, const CurQueryOptions& options, std::int64_t* ids,
                        float* out) const {
  const std::shared_lock lock(impl_->mutex);
  if (k == 0) throw std::invalid_argument("k: expected at least 1, got 0");
  check_query_arguments(*impl_, item_ids, scores, first_stage, options);
  const std::size_t threads = resolve_threads(options.threads);
  CountedVector<std::uint8_t> blocked = impl_->removed;
  if (exclude_scored)
    for (const std::int64_t id : item_ids) blocked[static_cast<std::size_t>(id)] = 1;
  std::vector<QueryWeights> many;
  for_each_query(*impl_, item_ids, scores, first_stage, options,
                 [&](std::size_t q, const QueryPrior& prior, QueryWeights weights) {
                   if ((scores.rows > 1 || options.proposer != nullptr) && first_stage.data == nullptr) {
                     many.push_back(std::move(weights));
                   } else {
                     write_best(best_items(prior, weights, k, blocked, threads), k, ids + q * k, out + q * k);
                   }
                 });
  const auto write = [&](std::size_t q, const ScoredList& best) {
    write_best(best, k, ids + q * k, out + q * k);
  };
  if (options.proposer == nullptr) return best_items_of_many(*impl_, many, k, blocked, threads, write);
  const QueryPrior prior(*impl_, {});
  for (const std::size_t q : best_items_proposed(*impl_, many, k, blocked, threads, *options.proposer, write))
    write(q, best_items(prior, many[q], k, blocked, threads));
}

}  // namespace whimbrel
