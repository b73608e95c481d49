// The best items of many queries at once. Tiles of matrix products propose, what is proposed is scored in
// canonical arithmetic, and a bound on the error of the proposals certifies that nothing better was missed;
// queries that cannot be certified get better proposals or a pass of their own. So the result is that of
// best_items(), bit for bit.
//
// A proposal is -offset - product, what it stands for is the negated score -(offset + y . v) - constant. They
// differ by the constant, and by at most the error of the product (product_tiles.hpp), that of the canonical
// one, (d / 32 + 8) u |v| |y|, and 3 u of each term for the sums in which they stand; u = 2^-24.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "base/parallel.hpp"
#include "base/product_tiles.hpp"
#include "base/vectors.hpp"
#include "cur/query.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr float kInf = std::numeric_limits<float>::infinity();
/// Panels of queries stay in the second-level cache while the items pass by.
constexpr std::size_t kPanelBytes = std::size_t{1} << 20;
/// Work items: long enough to pay for laying out the panels, short enough for every thread to have some.
constexpr std::size_t kSegmentRows = 4096;
/// Fewer queries than this are faster one after another: most of a tile would be padding.
constexpr std::size_t kFewQueries = 3;

class ManyQueries {
 public:
  using Sink = std::function<void(std::size_t, const ScoredList&)>;

  ManyQueries(const CurIndex::Impl& index, std::span<const QueryWeights> weights, std::size_t k,
              std::span<const std::uint8_t> blocked, std::size_t threads, const Sink& sink)
      : table_(kernels::active_table()),
        features_(index.features),
        prior_(index, {}),
        weights_(weights),
        depth_(std::min(k, index.size())),
        blocked_(blocked),
        threads_(threads),
        sink_(sink),
        open_(weights.size()) {
    std::iota(open_.begin(), open_.end(), std::size_t{0});
    // The canonical sum runs over the padded row.
    for (std::size_t i = 0; i < index.size(); ++i)
      offset_ = std::max(offset_, std::abs(static_cast<double>(prior_.offset(i))));
  }

  void run() {
    if (Bf16Tiles::available(table_)) pass<Bf16Tiles>();
    pass<FloatTiles>();
    for (const std::size_t q : open_) sink_(q, best_items(prior_, weights_[q], depth_, blocked_, threads_));
  }

 private:
  /// What a thread has seen: proposals for each query, the largest norm of a row and of what rounding took.
  struct Worker {
    std::vector<TopK> best;
    AlignedArray<float> bounds, widened;
    double norm = 0, lost = 0;
  };

  /// Proposals kept per query: the coarser they are, the more it takes to be certain.
  template <class Tiles>
  std::size_t keep() const {
    return std::is_same_v<Tiles, FloatTiles> ? depth_ + std::max<std::size_t>(16, depth_ / 4)
                                             : 2 * depth_ + 44;
  }

  template <class Tiles>
  void pass() {
    if (open_.size() < kFewQueries || 8 * keep<Tiles>() >= features_.size()) return;
    const std::size_t panel_bytes = Tiles::cols(table_) * features_.stride() * Tiles::kValueBytes;
    const std::size_t most =
        std::clamp<std::size_t>(kPanelBytes / panel_bytes, 1, Tiles::kMaxPanels) * Tiles::cols(table_);
    std::vector<std::size_t> left;
    for (std::size_t begin = 0; begin < open_.size(); begin += most) {
      const auto queries = std::span(open_).subspan(begin, std::min(most, open_.size() - begin));
      std::vector<std::uint8_t> settled(queries.size());
      std::vector<Worker> workers = propose<Tiles>(queries);
      double norm = 0, lost = 0;
      for (const Worker& w : workers) {
        norm = std::max(norm, w.norm);
        lost = std::max(lost, w.lost);
      }
      parallel_for(queries.size(), threads_, [&](std::size_t q, std::size_t) {
        TopK& best = workers[0].best[q];
        for (std::size_t w = 1; w < workers.size(); ++w) best.merge(workers[w].best[q]);
        settled[q] = settle<Tiles>(queries[q], best, norm, lost);
      });
      for (std::size_t q = 0; q < queries.size(); ++q)
        if (settled[q] == 0) left.push_back(queries[q]);
    }
    open_ = std::move(left);
  }

  template <class Tiles>
  std::vector<Worker> propose(std::span<const std::size_t> queries) const {
    const std::size_t cols = Tiles::cols(table_), padded = round_up(queries.size(), cols);
    std::vector<Worker> workers(threads_);
    parallel_for((features_.size() + kSegmentRows - 1) / kSegmentRows, threads_,
                 [&](std::size_t segment, std::size_t w) {
                   Worker& mine = workers[w];
                   if (mine.best.empty()) {
                     mine.best.assign(queries.size(), TopK(keep<Tiles>()));
                     mine.bounds = AlignedArray<float>(padded);
                     for (std::size_t q = 0; q < padded; ++q)  // columns that only pad accept nothing
                       mine.bounds[q] = q < queries.size() ? kInf : -kInf;
                     mine.widened = AlignedArray<float>(features_.chunk_rows() * features_.stride());
                   }
                   Tiles tiles(table_, queries.size(), features_.stride());
                   tiles.fill(
                       queries.size(), [&](std::size_t q) { return weights_[queries[q]].query.data(); },
                       nullptr);
                   const std::size_t end = std::min(features_.size(), (segment + 1) * kSegmentRows);
                   for (std::size_t i = segment * kSegmentRows; i < end;) {
                     const std::size_t n = std::min(end - i, features_.chunk_rows());
                     offer(tiles, i, n, mine);
                     i += n;
                   }
                 });
    std::erase_if(workers, [](const Worker& w) { return w.best.empty(); });
    return workers;
  }

  /// Items [first, first + n) of one chunk.
  template <class Tiles>
  void offer(Tiles& tiles, std::size_t first, std::size_t n, Worker& mine) const {
    const std::size_t stride = features_.stride(), rows = Tiles::rows(table_), cols = Tiles::cols(table_);
    alignas(kCacheLine) float scores[kernels::kMaxTileCols];
    float lost[kernels::kMaxTileRows];
    const float* data = features_.floats(first, n, mine.widened.data());
    for (std::size_t i = 0; i < n; i += rows) {
      const std::size_t here = std::min(rows, n - i);
      tiles.load(data + i * stride, stride, here, lost);
      for (std::size_t r = 0; r < here; ++r) {
        const float* x = data + (i + r) * stride;
        mine.norm = std::max(mine.norm, static_cast<double>(-table_.ip.canonical(x, x, stride)));
        mine.lost = std::max(mine.lost, static_cast<double>(lost[r]));
      }
      for (std::size_t p = 0; p < tiles.panels(); ++p) {
        const float* products = tiles.products(p);
        float* bounds = mine.bounds.data() + p * cols;
        for (std::size_t r = 0; r < here; ++r) {
          const std::size_t item = first + i + r;
          if (blocked_[item] != 0) continue;
          std::uint64_t hits =
              table_.select(products + r * cols, cols, -prior_.offset(item), 1.0f, bounds, scores);
          for (; hits != 0; hits &= hits - 1) {
            const auto c = static_cast<std::size_t>(__builtin_ctzll(hits));
            TopK& best = mine.best[p * cols + c];
            best.push(scores[c], static_cast<std::uint32_t>(item));
            bounds[c] = best.bound();
          }
        }
      }
    }
  }

  /// Score the proposals; false if one that was dropped could be among the best.
  template <class Tiles>
  bool settle(std::size_t q, TopK& best, double squared_norm, double squared_lost) const {
    const QueryWeights& weights = weights_[q];
    const std::size_t d = features_.stride();
    double norm = 0, lost = 0;
    for (std::size_t j = 0; j < d; ++j) {
      const double x = weights.query[j], rest = x - static_cast<double>(Tiles::rounded(weights.query[j]));
      norm += x * x;
      lost += rest * rest;
    }
    // Squares below the normal range of float may be missing in the sums of a row.
    const double missing = std::sqrt(static_cast<double>(d) * std::numeric_limits<float>::min());
    const ProductNorms norms{std::sqrt(squared_norm) * 1.0001 + missing,
                             std::sqrt(squared_lost) * 1.0001 + missing, std::sqrt(norm), std::sqrt(lost)};
    const double product = norms.row * norms.query, constant = static_cast<double>(weights.constant);
    const double error =
        1.01 * (Tiles::error(d, norms) + (static_cast<double>(d) / 32 + 8) * kUnit * product +
                3 * kUnit * (2 * product + 2 * offset_ + std::abs(constant))) +
        static_cast<double>(d) * std::numeric_limits<float>::min();
    // The least negated score of whatever was proposed at this value or above; NaN if anything overflowed.
    const auto least = [&](float proposal) { return static_cast<double>(proposal) - error - constant; };

    const ScoredList& proposals = best.finish();
    ScoredList found(proposals);
    for (Scored& s : found) {
      float score;
      score_chunk(prior_, weights, s.id, 1, &score);
      s.score = -score;
    }
    std::sort(found.begin(), found.end());
    const bool certain =
        best.bound() == kInf || (found.size() >= depth_ && least(best.bound()) > found[depth_ - 1].score);
    if (!certain) return false;
    found.resize(std::min(depth_, found.size()));
    sink_(q, found);
    return true;
  }

  const kernels::KernelTable& table_;
  const ItemFeatures& features_;
  QueryPrior prior_;
  std::span<const QueryWeights> weights_;
  std::size_t depth_;
  std::span<const std::uint8_t> blocked_;
  std::size_t threads_;
  const Sink& sink_;
  std::vector<std::size_t> open_;  // queries without an answer yet
  double offset_ = 0;              // the largest magnitude
};

}  // namespace

void best_items_of_many(const CurIndex::Impl& index, std::span<const QueryWeights> weights, std::size_t k,
                        std::span<const std::uint8_t> blocked, std::size_t threads,
                        const std::function<void(std::size_t, const ScoredList&)>& fn) {
  ManyQueries(index, weights, k, blocked, threads, fn).run();
}

}  // namespace whimbrel
