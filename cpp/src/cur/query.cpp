#include "cur/query.hpp"

#include <algorithm>
#include <cmath>

#include "base/parallel.hpp"
#include "base/query_panels.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Passes over less than this many values do not wake other threads.
constexpr std::size_t kSerialValues = std::size_t{1} << 18;
/// Panels of this many queries stay in the second-level cache while the items pass by.
constexpr std::size_t kQueriesAtOnce = 192;

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
std::vector<Scored> merge(std::vector<TopK>& found) {
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
  for (std::size_t i = 0; i < n; ++i) {
    offset_[i] = static_cast<float>(index.mean[i] + index.slope * slope_[i]);
    slope_[i] = static_cast<float>((slope_[i] - mean) * unit);
  }
}

std::size_t QueryPrior::dim() const noexcept {
  return index_.features.dim() + (index_.params.intercept ? 1 : 0) + (slope_.empty() ? 0 : 1);
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
    if (!slope_.empty()) values[next] = slope_[i];
  }
  return out;
}

QueryWeights::QueryWeights(const QueryPrior& prior, const VectorXd& y)
    : query(prior.index().features.stride()) {
  const CurIndex::Impl& index = prior.index();
  auto next = static_cast<Index>(index.features.dim());
  for (Index j = 0; j < next; ++j) query[static_cast<std::size_t>(j)] = static_cast<float>(y[j]);
  if (index.params.intercept) constant = static_cast<float>(y[next++] * std::sqrt(index.scale));
  if (prior.slopes() != nullptr) tilt = static_cast<float>(y[next]);
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

std::vector<Scored> best_items(const QueryPrior& prior, const QueryWeights& weights, std::size_t k,
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
  std::vector<Scored> best = merge(found);
  best.resize(std::min(k, best.size()));
  return best;
}

void best_items_of_many(const CurIndex::Impl& index, std::span<const QueryWeights> weights, std::size_t k,
                        std::span<const std::uint8_t> blocked, std::size_t threads,
                        const std::function<void(std::size_t, const std::vector<Scored>&)>& fn) {
  const kernels::KernelTable& table = kernels::active_table();
  const ItemFeatures& features = index.features;
  const std::size_t stride = features.stride(), rows = table.tile_rows, cols = table.tile_cols;
  const std::size_t depth = std::max<std::size_t>(1, std::min(k, index.size()));
  // Tiles round otherwise than canonical sums; what stands near the k-th place is kept for them to decide.
  const std::size_t keep = depth + std::max<std::size_t>(16, depth / 4);
  const QueryPrior prior(index, {});
  for (std::size_t begin = 0; begin < weights.size(); begin += kQueriesAtOnce) {
    const std::size_t count = std::min(kQueriesAtOnce, weights.size() - begin);
    QueryPanels panels(table, count, stride);
    panels.fill(count, [&](std::size_t q) { return weights[begin + q].query.data(); });
    struct Worker {
      std::vector<TopK> best;
      AlignedArray<float> bounds, products, widened, last_rows;
    };
    std::vector<Worker> workers(threads);
    for_each_chunk(features, threads, [&](std::size_t w, std::size_t first, std::size_t n) {
      Worker& mine = workers[w];
      if (mine.best.empty()) {
        mine.best.assign(count, TopK(keep));
        mine.bounds = AlignedArray<float>(panels.panels() * cols);
        for (std::size_t i = 0; i < panels.panels() * cols;
             ++i)  // columns that pad the last panel accept nothing
          mine.bounds[i] = std::numeric_limits<float>::infinity() * (i < count ? 1.0f : -1.0f);
        mine.products = AlignedArray<float>(panels.panels() * rows * cols);
        mine.widened = AlignedArray<float>(features.chunk_rows() * stride);
        mine.last_rows = AlignedArray<float>(rows * stride);
      }
      alignas(kCacheLine) float scores[kernels::kMaxTileCols];
      const float* data = features.floats(first, n, mine.widened.data());
      for (std::size_t i = 0; i < n; i += rows) {
        const std::size_t here = std::min(rows, n - i);
        const float* x = data + i * stride;
        if (here < rows) {  // the tile reads whole groups of rows
          std::copy_n(x, here * stride, mine.last_rows.data());
          x = mine.last_rows.data();
        }
        for (std::size_t at = 0; at < stride; at += kernels::kTileDepth)
          for (std::size_t p = 0; p < panels.panels(); ++p)
            table.tile(x + at, stride, panels.panel(p) + at * cols,
                       std::min(kernels::kTileDepth, stride - at), at > 0,
                       mine.products.data() + p * rows * cols);
        for (std::size_t p = 0; p < panels.panels(); ++p)
          for (std::size_t r = 0; r < here; ++r) {
            const std::size_t item = first + i + r;
            if (blocked[item] != 0) continue;
            float* bounds = mine.bounds.data() + p * cols;
            std::uint64_t hits = table.select(mine.products.data() + (p * rows + r) * cols, cols,
                                              -prior.offset(item), 1.0f, bounds, scores);
            for (; hits != 0; hits &= hits - 1) {
              const auto c = static_cast<std::size_t>(__builtin_ctzll(hits));
              TopK& best = mine.best[p * cols + c];
              best.push(scores[c], static_cast<std::uint32_t>(item));
              bounds[c] = best.bound();
            }
          }
      }
    });
    std::erase_if(workers, [](const Worker& w) { return w.best.empty(); });
    parallel_for(count, threads, [&](std::size_t q, std::size_t) {
      std::vector<TopK> found;
      found.reserve(workers.size());
      for (const Worker& w : workers) found.push_back(w.best[q]);
      std::vector<Scored> best = merge(found);
      for (Scored& s : best) {
        float score;
        score_chunk(prior, weights[begin + q], s.id, 1, &score);
        s.score = -score;
      }
      std::sort(best.begin(), best.end());
      best.resize(std::min(k, best.size()));
      fn(begin + q, best);
    });
  }
}

}  // namespace whimbrel
