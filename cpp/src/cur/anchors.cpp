// Which items to score first, whatever the query.
#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/top_k.hpp"
#include "base/vectors.hpp"
#include "cur/greedy.hpp"
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
constexpr std::size_t kBlock = 256;

class AnchorSelection {
 public:
  AnchorSelection(const CurIndex::Impl& index, std::size_t count, std::uint64_t seed, std::size_t threads,
                  const ProgressFn& progress, GreedyPasses* passes)
      : index_(index),
        features_(index.features),
        n_(index.size()),
        count_(std::min(
            count, n_ - static_cast<std::size_t>(std::count(index.removed.begin(), index.removed.end(), 1)))),
        seed_(seed),
        threads_(threads),
        passes_(passes),
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
    for_each_block(features_, threads_, [&](std::size_t first, std::size_t n) {
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

  /// The greedy ones, and if they explain everything, random ones.
  std::vector<std::int64_t> greedily() {
    std::vector<std::int64_t> chosen =
        select_greedily(index_, count_, threads_, passes_, [&](std::size_t n) { meter_.update(n); });
    if (chosen.size() < count_) {
      CountedVector<std::uint8_t> taken = index_.removed;
      for (const std::int64_t id : chosen) taken[static_cast<std::size_t>(id)] = 1;
      for (const std::int64_t id :
           highest([&](std::size_t i) { return uniform(seed_, RandomPurpose::kCurAnchors, i); }))
        if (chosen.size() < count_ && taken[static_cast<std::size_t>(id)] == 0) chosen.push_back(id);
    }
    return chosen;
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
    CountedVector<float> distance(all.size());
    assign(centers, all, cluster.data(), distance.data());
    std::vector<std::int64_t> nearest(count_, -1);
    CountedVector<float> least(count_, std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < all.size(); ++i)
      if (distance[i] < least[cluster[i]]) {
        least[cluster[i]] = distance[i];
        nearest[cluster[i]] = static_cast<std::int64_t>(all[i]);
      }
    CountedVector<std::uint8_t> taken(n_);
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
  GreedyPasses* passes_;
  ProgressMeter meter_;
};

}  // namespace

std::vector<std::int64_t> CurIndex::select_anchors(std::size_t count, AnchorRule rule, std::uint64_t seed,
                                                   std::size_t threads, const ProgressFn& progress,
                                                   GreedyPasses* passes) const {
  const std::shared_lock lock(impl_->mutex);
  return AnchorSelection(*impl_, count, seed, resolve_threads(threads), progress, passes).run(rule);
}

}  // namespace whimbrel
