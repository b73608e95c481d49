// From a matrix of scores to means and features: fit(), and the items and anchor queries that come later.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/hooks.hpp"
#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/vectors.hpp"
#include "cur/first_stage.hpp"
#include "cur/impl.hpp"
#include "cur/symmetric_eigen.hpp"

namespace whimbrel {
namespace {

using Eigen::MatrixXd;

/// Columns taken at once: a run of a kilobyte in each row of the scores.
constexpr std::size_t kBlockItems = 256;
/// Sums that must not depend on the number of threads are made of this many parts.
constexpr std::size_t kParts = 8;

/// Means over the rows, columns [begin, end).
void column_means(MatrixView<const float> scores, std::size_t begin, std::size_t end, float* mean) {
  std::vector<double> sum(end - begin);
  for (std::size_t a = 0; a < scores.rows; ++a)
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += scores.row(a)[begin + i];
  for (std::size_t i = 0; i < sum.size(); ++i)
    mean[i] = static_cast<float>(sum[i] / static_cast<double>(scores.rows));
}

/// The means of items from `first` on, if they are subtracted.
void set_means(CurIndex::Impl& impl, std::size_t first, MatrixView<const float> scores,
               MatrixView<const float> first_stage, std::size_t begin, std::size_t end) {
  if (!impl.params.center) return;
  column_means(scores, begin, end, impl.mean.data() + first);
  if (impl.has_first_stage()) column_means(first_stage, begin, end, impl.first_mean.data() + first);
}

/// Centered values of evenly spaced items, (queries, sample).
MatrixXd centered_sample(MatrixView<const float> values, const CountedVector<float>& mean) {
  const std::size_t n = values.cols, count = std::min(n, kFirstSample);
  MatrixXd out(static_cast<Eigen::Index>(values.rows), static_cast<Eigen::Index>(count));
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t a = 0; a < values.rows; ++a)
      out(static_cast<Eigen::Index>(a), static_cast<Eigen::Index>(s)) =
          static_cast<double>(values.row(a)[s * n / count]) - mean[s * n / count];
  return out;
}

/// Column i of the scores without what means and first stage explain, a value per anchor query.
void residual_column(const CurIndex::Impl& impl, std::size_t item, MatrixView<const float> scores,
                     MatrixView<const float> first_stage, std::size_t i, float* out) {
  for (std::size_t a = 0; a < scores.rows; ++a) {
    double x = static_cast<double>(scores.row(a)[i]) - impl.mean[item];
    if (impl.has_first_stage())
      x -= impl.slope * (static_cast<double>(first_stage.row(a)[i]) - impl.first_mean[item]);
    out[a] = static_cast<float>(x);
  }
}

/// With room for n and no more.
template <class T>
CountedVector<T> resized(const CountedVector<T>& values, std::size_t n) {
  CountedVector<T> out;
  out.reserve(n);
  out = values;
  out.resize(n);
  return out;
}

void check_first_stage(const CurIndex::Impl& impl, MatrixView<const float> first_stage, std::size_t rows,
                       std::size_t cols) {
  if (impl.has_first_stage()) {
    check_shape("first_stage", first_stage, rows, cols);
  } else if (first_stage.data != nullptr) {
    throw std::invalid_argument("first_stage: expected none, the index was fitted without, got one");
  }
}

/// The leading `rank` directions of the anchor queries, (n_queries, rank).
MatrixXd leading_directions(const MatrixXd& gram, std::size_t rank) {
  const SymmetricEigen eigen = symmetric_eigen(gram);
  return eigen.vectors.rightCols(static_cast<Eigen::Index>(rank)).rowwise().reverse();
}

}  // namespace

void check_shape(const char* name, MatrixView<const float> matrix, std::size_t rows, std::size_t cols) {
  if (matrix.rows != rows || matrix.cols != cols)
    throw std::invalid_argument(std::string(name) + ": expected shape (" + std::to_string(rows) + ", " +
                                std::to_string(cols) + "), got (" + std::to_string(matrix.rows) + ", " +
                                std::to_string(matrix.cols) + ")");
  check_finite(name, matrix, resolve_threads(0));
}

void check_items(std::span<const std::int64_t> item_ids, std::size_t n) {
  std::vector<std::int64_t> sorted(item_ids.begin(), item_ids.end());
  std::sort(sorted.begin(), sorted.end());
  for (const std::int64_t id : {sorted.empty() ? 0 : sorted.front(), sorted.empty() ? 0 : sorted.back()})
    if (!sorted.empty() && (id < 0 || static_cast<std::size_t>(id) >= n))
      throw std::out_of_range("item_ids: expected 0 to " + std::to_string(n - 1) + ", got " +
                              std::to_string(id));
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw std::invalid_argument("item_ids: expected each once, got " + std::to_string(*twice) + " twice");
}

MatrixXd sample_gram(std::size_t n, std::size_t dim, std::size_t max_items, std::size_t threads,
                     const std::function<void(std::size_t, float*)>& row) {
  const std::size_t count = std::min(n, max_items);
  const auto d = static_cast<Eigen::Index>(dim);
  const Charge sums((kParts + 1) * dim * dim * sizeof(double));  // Eigen does not ask an account
  std::vector<MatrixXd> parts(kParts);
  parallel_for(kParts, threads, [&](std::size_t part, std::size_t) {
    MatrixXd sum = MatrixXd::Zero(d, d), block(d, static_cast<Eigen::Index>(kBlockItems));
    std::vector<float> values(dim);
    const std::size_t begin = part * count / kParts, end = (part + 1) * count / kParts;
    for (std::size_t s = begin; s < end; s += kBlockItems) {
      check_stop();
      const std::size_t size = std::min(kBlockItems, end - s);
      for (std::size_t i = 0; i < size; ++i) {
        row((s + i) * n / count, values.data());
        block.col(static_cast<Eigen::Index>(i)) =
            Eigen::Map<const Eigen::VectorXf>(values.data(), d).cast<double>();
      }
      sum.selfadjointView<Eigen::Lower>().rankUpdate(block.leftCols(static_cast<Eigen::Index>(size)));
    }
    parts[part] = std::move(sum);
  });
  MatrixXd gram = MatrixXd::Zero(d, d);
  for (const MatrixXd& part : parts) gram += part;
  if (count > 0) gram *= static_cast<double>(n) / static_cast<double>(count);
  return gram.selfadjointView<Eigen::Lower>();
}

void set_items(CurIndex::Impl& impl, std::size_t first, MatrixView<const float> scores,
               MatrixView<const float> first_stage, std::size_t threads,
               const std::function<void(std::size_t)>& poll) {
  const std::size_t dim = impl.features.dim();
  parallel_for((scores.cols + kBlockItems - 1) / kBlockItems, threads,
               [&](std::size_t block, std::size_t) {
                 std::vector<float> column(impl.n_queries), projected(dim);
                 const std::size_t end = std::min(scores.cols, (block + 1) * kBlockItems);
                 for (std::size_t i = block * kBlockItems; i < end; ++i) {
                   residual_column(impl, first + i, scores, first_stage, i, column.data());
                   const float* values = column.data();
                   if (impl.projection.size() > 0) {
                     const Eigen::Map<const Eigen::VectorXf> x(column.data(),
                                                               static_cast<Eigen::Index>(column.size()));
                     Eigen::Map<Eigen::VectorXf>(projected.data(), static_cast<Eigen::Index>(dim)) =
                         (impl.projection.transpose() * x.cast<double>()).cast<float>();
                     values = projected.data();
                   }
                   impl.features.set_row(first + i, values);
                 }
               },
               poll);
}

CurIndex CurIndex::fit(MatrixView<const float> anchor_scores, const CurParams& params,
                       MatrixView<const float> first_stage) {
  const std::size_t queries = anchor_scores.rows, n = anchor_scores.cols;
  if (queries == 0 || n == 0)
    throw std::invalid_argument("anchor_scores: expected at least one query and one item, got shape (" +
                                std::to_string(queries) + ", " + std::to_string(n) + ")");
  if (n >= (std::size_t{1} << 31)) throw std::length_error("anchor_scores: expected fewer than 2^31 items");
  if (params.rank > queries)
    throw std::invalid_argument("rank: expected at most the number of anchor queries, " +
                                std::to_string(queries) + ", got " + std::to_string(params.rank));
  const std::size_t threads = resolve_threads(params.threads);
  check_finite("anchor_scores", anchor_scores, threads);
  const bool has_first = first_stage.data != nullptr;
  if (has_first) check_shape("first_stage", first_stage, queries, n);

  auto impl = std::make_unique<Impl>(queries, params.rank > 0 ? params.rank : queries, params);
  impl->params.threads = 0;
  impl->params.progress = {};
  impl->mean.resize(n);
  if (has_first) impl->first_mean.resize(n);
  impl->removed.resize(n);

  const std::size_t n_blocks = (n + kBlockItems - 1) / kBlockItems;
  ProgressMeter meter(params.progress, n);
  // Means take about as long as features.
  const auto poll = [&](std::size_t before) {
    return [&, before](std::size_t done) { meter.update((before + done) * n / (2 * n_blocks)); };
  };
  parallel_for(
      n_blocks, threads,
      [&](std::size_t block, std::size_t) {
        const std::size_t begin = block * kBlockItems;
        set_means(*impl, begin, anchor_scores, first_stage, begin, std::min(n, begin + kBlockItems));
      },
      poll(0));
  if (has_first) {
    const MatrixXd sample = centered_sample(first_stage, impl->first_mean);
    const FirstStageFit found = fit_first_stage(centered_sample(anchor_scores, impl->mean), sample, threads);
    impl->slope = found.slope;
    impl->first_gain = found.gain;
    impl->first_ridge = found.ridge;
    impl->fitted_size = n;
    if (found.gain > 0) impl->first_sample = sample.cast<float>();
    prepare_first_stage(*impl);
  }
  if (params.rank > 0)
    impl->projection =
        leading_directions(sample_gram(n, queries, kSampleItems, threads,
                                       [&](std::size_t i, float* out) {
                                         residual_column(*impl, i, anchor_scores, first_stage, i, out);
                                       }),
                           params.rank);
  impl->features.resize(n);
  set_items(*impl, 0, anchor_scores, first_stage, threads, poll(n_blocks));

  double squares = 0;
  std::vector<float> row(impl->features.dim());
  const std::size_t step = std::max<std::size_t>(1, n / kSampleItems), sampled = (n + step - 1) / step;
  for (std::size_t i = 0; i < n; i += step) {
    impl->features.row(i, row.data());
    squares += squared_norm(row.data(), row.size());
  }
  impl->scale = squares / static_cast<double>(sampled);
  meter.finish();
  return CurIndex(std::move(impl));
}

void CurIndex::add_items(MatrixView<const float> scores, MatrixView<const float> first_stage) {
  const std::unique_lock lock(impl_->mutex);
  check_shape("scores", scores, impl_->n_queries, scores.cols);
  check_first_stage(*impl_, first_stage, impl_->n_queries, scores.cols);
  if (scores.cols == 0) return;
  const std::size_t old = impl_->size(), n = old + scores.cols;
  if (n >= (std::size_t{1} << 31)) throw std::length_error("scores: expected fewer than 2^31 items in all");
  // Longer copies, so that what there was can come back whole, with its memory.
  CountedVector<float> mean = resized(impl_->mean, n);
  CountedVector<float> first_mean = resized(impl_->first_mean, impl_->has_first_stage() ? n : 0);
  CountedVector<std::uint8_t> removed = resized(impl_->removed, n);
  const auto exchange = [&]() noexcept {
    impl_->mean.swap(mean);
    impl_->first_mean.swap(first_mean);
    impl_->removed.swap(removed);
  };
  exchange();
  try {
    set_means(*impl_, old, scores, first_stage, 0, scores.cols);
    impl_->features.resize(n);
    set_items(*impl_, old, scores, first_stage, resolve_threads(0), {});
  } catch (...) {
    exchange();
    impl_->features.resize(old);
    throw;
  }
  ++impl_->changes;
}

void CurIndex::add_queries(MatrixView<const float> scores, MatrixView<const float> first_stage) {
  const std::unique_lock lock(impl_->mutex);
  Impl& old = *impl_;
  check_shape("scores", scores, scores.rows, old.size());
  check_first_stage(old, first_stage, scores.rows, old.size());
  if (old.params.rank > 0)
    throw std::invalid_argument("scores: expected no anchor queries for an index with a rank, fit it again");
  if (scores.rows == 0) return;
  const std::size_t n = old.size(), queries = old.n_queries + scores.rows;
  Impl fresh(queries, queries, old.params);
  fresh.mean = old.mean;
  fresh.first_mean = old.first_mean;
  fresh.slope = old.slope;
  fresh.features.resize(n);
  // The features of the anchor queries that were there move with the means.
  const double share = static_cast<double>(scores.rows) / static_cast<double>(queries);
  std::vector<float> row(queries);
  CountedVector<float> new_mean(1), new_first(1);
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) {
    check_stop();
    const bool first = old.has_first_stage();
    if (old.params.center) {
      column_means(scores, i, i + 1, new_mean.data());
      if (first) column_means(first_stage, i, i + 1, new_first.data());
      fresh.mean[i] =
          static_cast<float>(old.mean[i] + share * (static_cast<double>(new_mean[0]) - old.mean[i]));
      if (first)
        fresh.first_mean[i] = static_cast<float>(
            old.first_mean[i] + share * (static_cast<double>(new_first[0]) - old.first_mean[i]));
    }
    double shift = static_cast<double>(old.mean[i]) - fresh.mean[i];
    if (first) shift -= old.slope * (static_cast<double>(old.first_mean[i]) - fresh.first_mean[i]);
    old.features.row(i, row.data());
    for (std::size_t a = 0; a < old.n_queries; ++a) row[a] = static_cast<float>(row[a] + shift);
    residual_column(fresh, i, scores, first_stage, i, row.data() + old.n_queries);
    fresh.features.set_row(i, row.data());
    squares += squared_norm(row.data(), queries);
  }
  if (old.first_gain > 0) {
    const auto known = static_cast<Eigen::Index>(old.n_queries);
    Eigen::MatrixXf sample(static_cast<Eigen::Index>(queries), old.first_sample.cols());
    for (Eigen::Index s = 0; s < sample.cols(); ++s) {
      const std::size_t i = sample_item(old, static_cast<std::size_t>(s));
      sample.col(s).head(known) = old.first_sample.col(s).array() + (old.first_mean[i] - fresh.first_mean[i]);
      for (std::size_t a = 0; a < scores.rows; ++a)
        sample(known + static_cast<Eigen::Index>(a), s) = first_stage.row(a)[i] - fresh.first_mean[i];
    }
    old.first_sample = std::move(sample);
    prepare_first_stage(old);
  }
  old.n_queries = queries;
  old.mean = std::move(fresh.mean);
  old.first_mean = std::move(fresh.first_mean);
  old.features = std::move(fresh.features);
  old.scale = squares / static_cast<double>(n);
  ++old.changes;
}

}  // namespace whimbrel
