// Which items to score first, whatever the query.
#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/parallel.hpp"
#include "base/top_k.hpp"
#include "base/vectors.hpp"
#include "cur/impl.hpp"
#include "cur/random_keys.hpp"
#include "cur/symmetric_eigen.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Clusters are found on a sample of this size, in this many rounds.
constexpr std::size_t kClusterSample = 20000;
constexpr int kClusterRounds = 10;
/// Leading directions whose leverage is meant: those with more than this share of the largest eigenvalue, and
/// at most as many as items are wanted.
constexpr double kLeverageShare = 1e-4;
/// Residual rows below this share of the mean are rounding (1e-5 of the root mean square entry).
constexpr double kTinyResidual = 1e-10;
constexpr std::size_t kBlock = 256;

class AnchorSelection {
 public:
  AnchorSelection(const CurIndex::Impl& index, std::size_t count, std::uint64_t seed, std::size_t threads,
                  const ProgressFn& progress)
      : index_(index),
        features_(index.features),
        n_(index.size()),
        count_(std::min(
            count, n_ - static_cast<std::size_t>(std::count(index.removed.begin(), index.removed.end(), 1)))),
        seed_(seed),
        threads_(threads),
        meter_(progress, count_) {}

  std::vector<std::int64_t> run(AnchorRule rule) {
    if (count_ == 0) return {};
    std::vector<std::int64_t> chosen;
    switch (rule) {
      case AnchorRule::kRandom:
        chosen = highest([&](std::size_t i) { return uniform(seed_, RandomPurpose::kCurAnchors, i); });
        break;
      case AnchorRule::kTop:
        chosen = highest([&](std::size_t i) { return static_cast<double>(index_.mean[i]); });
        break;
      case AnchorRule::kKMeans:
        chosen = nearest_to_centers();
        break;
      case AnchorRule::kLeverage:
        chosen = by_leverage();
        break;
      case AnchorRule::kL2Greedy:
        chosen = greedily();
        break;
    }
    meter_.finish();
    return chosen;
  }

 private:
  template <class Fn>
  void for_each_block(const Fn& fn) const {
    parallel_for((n_ + kBlock - 1) / kBlock, threads_, [&](std::size_t block, std::size_t) {
      const std::size_t first = block * kBlock;
      for (std::size_t i = first; i < std::min(n_, first + kBlock);) {
        // A run must not cross the end of a chunk of the features.
        const std::size_t end =
            std::min({n_, first + kBlock, (i / features_.chunk_rows() + 1) * features_.chunk_rows()});
        fn(i, end - i);
        i = end;
      }
    });
  }

  /// The items of the highest keys, ties by id.
  template <class Key>
  std::vector<std::int64_t> highest(const Key& key) const {
    std::vector<std::pair<double, std::int64_t>> keys;
    for (std::size_t i = 0; i < n_; ++i)
      if (index_.removed[i] == 0) keys.emplace_back(-key(i), static_cast<std::int64_t>(i));
    std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count_), keys.end());
    std::vector<std::int64_t> ids(count_);
    for (std::size_t i = 0; i < count_; ++i) ids[i] = keys[i].second;
    return ids;
  }

  MatrixXd gram(std::size_t max_items) const {
    return sample_gram(n_, features_.dim(), max_items, threads_,
                       [&](std::size_t i, float* out) { features_.row(i, out); });
  }

  /// Row norms of the leading right singular vectors, as weights of a sample without replacement.
  std::vector<std::int64_t> by_leverage() {
    const SymmetricEigen eigen = symmetric_eigen(gram(kSampleItems));
    const VectorXd& values = eigen.values;
    const Index d = values.size();
    std::vector<AlignedArray<float>> directions;
    for (Index j = d - 1; j >= 0 && directions.size() < count_; --j) {
      if (!(values[j] > kLeverageShare * values[d - 1])) break;
      AlignedArray<float> direction(features_.stride());
      for (Index i = 0; i < d; ++i)
        direction[static_cast<std::size_t>(i)] =
            static_cast<float>(eigen.vectors(i, j) / std::sqrt(values[j]));
      directions.push_back(std::move(direction));
    }
    std::vector<double> leverage(n_);
    for_each_block([&](std::size_t first, std::size_t n) {
      float dots[kBlock];
      for (const AlignedArray<float>& direction : directions) {
        features_.dots(direction.data(), first, n, dots);
        for (std::size_t i = 0; i < n; ++i) leverage[first + i] += static_cast<double>(dots[i]) * dots[i];
      }
    });
    return highest([&](std::size_t i) {
      return std::log(std::max(leverage[i], std::numeric_limits<double>::min())) +
             gumbel(seed_, RandomPurpose::kCurLeverage, i);
    });
  }

  /// Column-pivoted greedy on G = X X^T, which is never formed: the gain of item j is |G_j|^2 / G_jj, after
  /// which G is deflated by column j. With W = X^T X, x the chosen row without the directions Q of earlier
  /// ones, g = |x|^2 and w = (I - Q Q^T) W x, one pass over the rows gives u = X x and t = X w, and
  ///   |G_j|^2 -= 2 (u_j / g) t_j - (u_j / g)^2 (x . w),   G_jj -= u_j^2 / g.
  /// X itself is never deflated: x and w are orthogonal to Q.
  std::vector<std::int64_t> greedily() {
    const std::size_t dim = features_.dim();
    const auto d = static_cast<Index>(dim);
    const MatrixXd w_full = gram(n_);
    std::vector<double> column(n_), diagonal(n_);  // |G_j|^2 and G_jj
    for_each_block([&](std::size_t first, std::size_t n) {
      MatrixXd rows(d, static_cast<Index>(n));
      Eigen::VectorXf row(d);
      for (std::size_t i = 0; i < n; ++i) {
        features_.row(first + i, row.data());
        rows.col(static_cast<Index>(i)) = row.cast<double>();
      }
      const MatrixXd product = w_full * rows;
      for (std::size_t i = 0; i < n; ++i) {
        column[first + i] = rows.col(static_cast<Index>(i)).dot(product.col(static_cast<Index>(i)));
        diagonal[first + i] = rows.col(static_cast<Index>(i)).squaredNorm();
      }
    });
    double trace = 0;
    for (const double g : diagonal) trace += g;
    const double tiny = kTinyResidual * trace / static_cast<double>(n_ * dim);

    std::vector<std::uint8_t> blocked = index_.removed;
    std::vector<std::int64_t> chosen;
    MatrixXd basis(d, static_cast<Index>(std::min(count_, dim)));
    AlignedArray<float> x32(features_.stride()), w32(features_.stride());
    Eigen::VectorXf row(d);
    while (chosen.size() < std::min(count_, dim)) {
      const std::size_t best = best_gain(column, diagonal, blocked, tiny);
      if (best == n_) break;
      const auto used = static_cast<Index>(chosen.size());
      const auto q = basis.leftCols(used);
      features_.row(best, row.data());
      VectorXd x = row.cast<double>();
      for (int twice = 0; twice < 2; ++twice) x -= q * (q.transpose() * x);  // once is not orthogonal enough
      const double g = x.squaredNorm();
      blocked[best] = 1;
      if (!(g > tiny)) continue;  // its residual was rounding
      VectorXd w = w_full * x;
      w -= q * (q.transpose() * w);
      const double xw = x.dot(w);
      for (Index j = 0; j < d; ++j) {
        x32[static_cast<std::size_t>(j)] = static_cast<float>(x[j]);
        w32[static_cast<std::size_t>(j)] = static_cast<float>(w[j]);
      }
      for_each_block([&](std::size_t first, std::size_t n) {
        float u[kBlock], t[kBlock];
        features_.dots(x32.data(), first, n, u);
        features_.dots(w32.data(), first, n, t);
        for (std::size_t i = 0; i < n; ++i) {
          const double share = u[i] / g;
          column[first + i] -= share * (2 * static_cast<double>(t[i]) - share * xw);
          diagonal[first + i] -= share * u[i];
        }
      });
      basis.col(used) = x / std::sqrt(g);
      chosen.push_back(static_cast<std::int64_t>(best));
      meter_.update(chosen.size());
    }
    // The chosen ones explain everything: the rest does not matter, and is random.
    if (chosen.size() < count_) {
      std::vector<std::uint8_t> taken = index_.removed;
      for (const std::int64_t id : chosen) taken[static_cast<std::size_t>(id)] = 1;
      for (const std::int64_t id :
           highest([&](std::size_t i) { return uniform(seed_, RandomPurpose::kCurAnchors, i); }))
        if (chosen.size() < count_ && taken[static_cast<std::size_t>(id)] == 0) chosen.push_back(id);
    }
    return chosen;
  }

  /// The largest gain, ties by the smallest item; n_ if no residual is left.
  std::size_t best_gain(const std::vector<double>& column, const std::vector<double>& diagonal,
                        const std::vector<std::uint8_t>& blocked, double tiny) const {
    std::size_t best = n_;
    double best_gain = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (blocked[i] != 0 || !(diagonal[i] > tiny)) continue;
      // Equal up to rounding is equal: twins must not be told apart by the order of sums.
      const double gain = column[i] / diagonal[i];
      if (gain > best_gain * (1 + 1e-9)) {
        best_gain = gain;
        best = i;
      }
    }
    return best;
  }

  std::vector<std::int64_t> nearest_to_centers() {
    const std::size_t stride = features_.stride(), dim = features_.dim();
    const std::vector<std::int64_t> start =
        highest([&](std::size_t i) { return uniform(seed_, RandomPurpose::kCurClusters, i); });
    std::vector<std::size_t> sample;
    const std::size_t step = std::max<std::size_t>(1, n_ / std::max(kClusterSample, 20 * count_));
    for (std::size_t i = 0; i < n_; i += step)
      if (index_.removed[i] == 0) sample.push_back(i);
    AlignedArray<float> centers(count_ * stride);
    for (std::size_t c = 0; c < count_; ++c)
      features_.row(static_cast<std::size_t>(start[c]), centers.data() + c * stride);
    for (int round = 0; round < kClusterRounds; ++round) {
      std::vector<std::uint32_t> cluster(sample.size());
      assign(centers, sample, cluster.data(), nullptr);
      std::vector<double> sum(count_ * dim), members(count_);
      std::vector<float> row(dim);
      for (std::size_t s = 0; s < sample.size(); ++s) {  // in one thread: sums depend on their order
        features_.row(sample[s], row.data());
        members[cluster[s]] += 1;
        for (std::size_t j = 0; j < dim; ++j) sum[cluster[s] * dim + j] += row[j];
      }
      for (std::size_t c = 0; c < count_; ++c)
        for (std::size_t j = 0; members[c] > 0 && j < dim; ++j)
          centers[c * stride + j] = static_cast<float>(sum[c * dim + j] / members[c]);
      meter_.update(static_cast<std::size_t>(round) * count_ / kClusterRounds);
    }
    // The nearest item of each center's own cluster; clusters that have none get what random order offers.
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < n_; ++i)
      if (index_.removed[i] == 0) all.push_back(i);
    std::vector<std::uint32_t> cluster(all.size());
    std::vector<float> distance(all.size());
    assign(centers, all, cluster.data(), distance.data());
    std::vector<std::int64_t> nearest(count_, -1);
    std::vector<float> least(count_, std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < all.size(); ++i)
      if (distance[i] < least[cluster[i]]) {
        least[cluster[i]] = distance[i];
        nearest[cluster[i]] = static_cast<std::int64_t>(all[i]);
      }
    std::vector<std::uint8_t> taken(n_);
    for (const std::int64_t id : nearest)
      if (id >= 0) taken[static_cast<std::size_t>(id)] = 1;
    std::erase(nearest, -1);
    for (std::size_t i = 0; nearest.size() < count_ && i < start.size(); ++i)
      if (taken[static_cast<std::size_t>(start[i])] == 0) nearest.push_back(start[i]);
    return nearest;
  }

  /// The nearest center of each item, ties by the first, and its squared distance.
  void assign(const AlignedArray<float>& centers, const std::vector<std::size_t>& items,
              std::uint32_t* cluster, float* distance) const {
    const std::size_t stride = features_.stride();
    const kernels::KernelTable& table = kernels::active_table();
    std::vector<float> norms(count_);
    for (std::size_t c = 0; c < count_; ++c)
      norms[c] = static_cast<float>(squared_norm(centers.data() + c * stride, stride));
    parallel_for((items.size() + kBlock - 1) / kBlock, threads_, [&](std::size_t block, std::size_t) {
      AlignedArray<float> row(stride);
      std::vector<float> dots(count_);
      for (std::size_t i = block * kBlock; i < std::min(items.size(), (block + 1) * kBlock); ++i) {
        features_.row(items[i], row.data());
        table.dot_rows(row.data(), stride, centers.data(), stride, count_, dots.data());
        float least = std::numeric_limits<float>::infinity();
        for (std::size_t c = 0; c < count_; ++c)
          if (const float half = norms[c] - 2 * dots[c]; half < least) {
            least = half;
            cluster[i] = static_cast<std::uint32_t>(c);
          }
        if (distance != nullptr) distance[i] = least + static_cast<float>(squared_norm(row.data(), stride));
      }
    });
  }

  const CurIndex::Impl& index_;
  const ItemFeatures& features_;
  std::size_t n_, count_;
  std::uint64_t seed_;
  std::size_t threads_;
  ProgressMeter meter_;
};

}  // namespace

std::vector<std::int64_t> CurIndex::select_anchors(std::size_t count, AnchorRule rule, std::uint64_t seed,
                                                   std::size_t threads, const ProgressFn& progress) const {
  const std::shared_lock lock(impl_->mutex);
  return AnchorSelection(*impl_, count, seed, resolve_threads(threads), progress).run(rule);
}

}  // namespace whimbrel
