// Exact k nearest neighbors.
//
// Scores are proposed by tiles of inner products (as in a matrix product, the fastest thing a processor
// does), the best of them are computed again in canonical arithmetic, and a bound on the rounding error of
// the proposals certifies, query by query, that nothing better was missed. A query that cannot be certified
// (ties at the k-th place, or coordinates so large that the proposals carry no information) is scanned in
// canonical arithmetic.
//
// Proposal for l2, with mu the mean of the data and q' = q - mu rounded to float:
//   |x - q|^2 / 2 = |x - mu|^2 / 2 - x . q' + (|q|^2 - |mu|^2) / 2,
// where the last term is the same for all x. Centering keeps the products small for data far from the origin.
// Proposal for ip: -x . q. For cosine: -x . q / |x| with q normalized; a self-join works on a normalized
// copy.
//
// Error of a proposal (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1; u = 2^-24):
// products are summed in runs of kTileDepth, so |error| <= gamma |x| |q'| with gamma = (kTileDepth + d /
// kTileDepth + 3) u, plus u |x| |q'| for the rounding of q', plus (d / 32 + 9) u |x - mu|^2 for the bias and
// the subtraction.
#include "whimbrel/exact.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/query_panels.hpp"
#include "base/top_k.hpp"
#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kUnit = 0x1p-24;
/// Below this a squared norm may have lost digits to underflow.
constexpr float kSmallNorm = 1e-25f;
/// A panel of queries must stay in the second-level cache while the data pass by.
constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
/// Below this many queries the tiles would be mostly padding.
constexpr std::size_t kFewQueries = 8;
/// Rows per segment, and the groups of queries that each thread must have to do without segments.
constexpr std::size_t kSegmentRows = 4096;
constexpr std::size_t kGroupsPerThread = 8;

class Knn {
 public:
  Knn(MatrixView<const float> data, MatrixView<const float> queries, bool self, const KnnParams& params,
      std::int64_t* ids, float* distances)
      : table_(kernels::active_table()),
        kernels_(kernels::metric_kernels(table_, params.metric)),
        data_(data),
        queries_(queries),
        self_(self),
        params_(params),
        threads_(resolve_threads(params.threads)),
        dim_(data.cols),
        found_(std::min(params.k, data.rows - (self && data.rows > 0 ? 1 : 0))),
        depth_(std::max<std::size_t>(1, std::min(params.k, data.rows))),
        keep_(depth_ + std::max<std::size_t>(16, depth_ / 4)),
        ids_(ids),
        distances_(distances) {}

  void run() {
    const bool scan = queries_.rows < kFewQueries || keep_ >= data_.rows / 8;
    // The tiles look at every row's norm and find out by themselves (look_at).
    const bool cosine = params_.metric == Metric::kCosine;
    if (scan || (cosine && self_)) check_finite("data", data_, threads_);
    if (queries_.rows == 0) return;
    if (cosine) {
      queries_ = normalized(queries_, normalized_);
      if (self_) data_ = queries_;
      raw_cosine_ = !self_;
    }
    if (!scan) choose_center();

    // Work items are chunks of queries, of equal size up to one group, that see all rows; or, where these
    // would not occupy the threads evenly, chunks that see one segment of the rows each. The result is the
    // same.
    const std::size_t group = scan ? 1 : table_.tile_cols;
    const std::size_t groups = (queries_.rows + group - 1) / group;
    const bool segmented = groups < kGroupsPerThread * threads_;
    const std::size_t n_segments =
        segmented ? std::max<std::size_t>(1, (data_.rows + kSegmentRows - 1) / kSegmentRows) : 1;
    std::size_t n_chunks = (groups + max_groups() - 1) / max_groups();
    if (!segmented) n_chunks = round_up(n_chunks, threads_);
    const auto chunk_begin = [&](std::size_t c) {
      return std::min(queries_.rows, c * groups / n_chunks * group);
    };

    ProgressMeter meter(params_.progress, queries_.rows);
    std::vector<std::vector<Found>> found(n_chunks);
    for (std::vector<Found>& f : found) f.resize(n_segments);
    parallel_for(
        n_chunks * n_segments, threads_,
        [&](std::size_t item, std::size_t) {
          const std::size_t c = item / n_segments, s = item % n_segments;
          const std::size_t begin = chunk_begin(c), end = chunk_begin(c + 1);
          Found& f = found[c][s];
          f.best.assign(end - begin, TopK(scan ? depth_ : keep_));
          const std::size_t first = n_segments == 1 ? 0 : s * kSegmentRows;
          const std::size_t last = n_segments == 1 ? data_.rows : std::min(data_.rows, first + kSegmentRows);
          if (scan) {
            scan_rows(begin, first, last, f.best);
          } else {
            propose(begin, first, last, f);
          }
          if (n_segments == 1) {
            for (std::size_t q = begin; q < end; ++q) settle(scan, q, f.best[q - begin], f.range);
            f = {};
          }
        },
        [&](std::size_t done) { meter.update(done * queries_.rows / (n_chunks * n_segments)); });
    if (n_segments > 1) {
      parallel_for(n_chunks, threads_, [&](std::size_t c, std::size_t) {
        Found& all = found[c][0];
        for (std::size_t s = 1; s < n_segments; ++s) all.merge(found[c][s]);
        for (std::size_t i = 0; i < all.best.size(); ++i)
          settle(scan, chunk_begin(c) + i, all.best[i], all.range);
      });
    }
    meter.finish();
  }

 private:
  /// What a row contributes to its scores: bias - scale * product.
  struct Row {
    float bias, scale;
  };

  /// Largest |x|^2 and bias of the rows seen: what the error bound needs to know of them.
  struct Range {
    float squared_norm = 0;
    float bias = 0;
  };

  /// What the rows seen so far offer to the queries of a chunk.
  struct Found {
    std::vector<TopK> best;
    Range range;

    void merge(const Found& other) {
      for (std::size_t i = 0; i < best.size(); ++i) best[i].merge(other.best[i]);
      range.squared_norm = std::max(range.squared_norm, other.range.squared_norm);
      range.bias = std::max(range.bias, other.range.bias);
    }
  };

  std::size_t max_groups() const {
    const std::size_t panel_bytes = table_.tile_cols * std::max<std::size_t>(dim_, 1) * sizeof(float);
    return std::clamp<std::size_t>(kChunkBytes / panel_bytes, 1, 16);
  }

  MatrixView<const float> normalized(MatrixView<const float> m, AlignedArray<float>& out) const {
    out = AlignedArray<float>(m.rows * dim_);
    parallel_for(m.rows, threads_,
                 [&](std::size_t i, std::size_t) { normalize(m.row(i), dim_, out.data() + i * dim_); });
    return {out.data(), m.rows, dim_};
  }

  /// Row i as canonical distances see it.
  const float* canonical_row(std::size_t i, float* scratch) const {
    if (!raw_cosine_) return data_.row(i);
    normalize(data_.row(i), dim_, scratch);
    return scratch;
  }

  /// Any center is correct; the mean of a sample is near enough to keep the products small.
  void choose_center() {
    center_ = AlignedArray<float>(dim_);
    if (params_.metric != Metric::kL2) return;
    std::vector<double> sum(dim_);
    const std::size_t step = std::max<std::size_t>(1, data_.rows / 1024);
    std::size_t n = 0;
    for (std::size_t i = 0; i < data_.rows; i += step, ++n)
      for (std::size_t j = 0; j < dim_; ++j) sum[j] += data_.row(i)[j];
    for (std::size_t j = 0; j < dim_; ++j) center_[j] = static_cast<float>(sum[j] / static_cast<double>(n));
    center_squared_norm_ = squared_norm(center_.data(), dim_);
  }

  /// Offer rows [first, last) to the queries from `begin` on, in canonical arithmetic.
  void scan_rows(std::size_t begin, std::size_t first, std::size_t last, std::span<TopK> best) const {
    AlignedArray<float> scratch(dim_);
    for (std::size_t i = first; i < last; ++i) {
      const float* row = canonical_row(i, scratch.data());
      for (std::size_t q = 0; q < best.size(); ++q)
        if (!self_ || i != begin + q)
          best[q].push(kernels_.canonical(queries_.row(begin + q), row, dim_), static_cast<std::uint32_t>(i));
    }
  }

  /// Offer rows [first, last) to the queries from `begin` on, in tiles.
  void propose(std::size_t begin, std::size_t first, std::size_t last, Found& found) const {
    std::vector<TopK>& best = found.best;
    const std::size_t rows = table_.tile_rows, cols = table_.tile_cols;
    QueryPanels panels(table_, best.size(), dim_);
    panels.fill(best.size(), [&](std::size_t i) { return queries_.row(begin + i); }, center_.data());
    // Columns that pad the last panel accept nothing.
    AlignedArray<float> bounds(panels.panels() * cols);
    for (std::size_t i = 0; i < panels.panels() * cols; ++i) bounds[i] = i < best.size() ? kInf : -kInf;
    const std::size_t tile_size = rows * cols;
    AlignedArray<float> products(panels.panels() * tile_size);
    alignas(kCacheLine) float scores[kernels::kMaxTileCols];
    Row row[kernels::kMaxTileRows];
    AlignedArray<float> last_rows(rows * dim_);  // the tile reads whole groups of rows

    for (std::size_t i = first; i < last; i += rows) {
      const std::size_t n = std::min(rows, last - i);
      const float* x = data_.row(i);
      std::size_t stride = data_.stride;
      if (n < rows) {
        for (std::size_t r = 0; r < n; ++r) std::copy_n(data_.row(i + r), dim_, last_rows.data() + r * dim_);
        x = last_rows.data();
        stride = dim_;
      }
      for (std::size_t r = 0; r < n; ++r) row[r] = look_at(i + r, found.range);
      for (std::size_t k = 0; k < dim_; k += kernels::kTileDepth)
        for (std::size_t p = 0; p < panels.panels(); ++p)
          table_.tile(x + k, stride, panels.panel(p) + k * cols, std::min(kernels::kTileDepth, dim_ - k),
                      k > 0, products.data() + p * tile_size);
      for (std::size_t p = 0; p < panels.panels(); ++p) {
        for (std::size_t r = 0; r < n; ++r) {
          float* panel_bounds = bounds.data() + p * cols;
          std::uint64_t hits = table_.select(products.data() + p * tile_size + r * cols, row[r].bias,
                                             row[r].scale, panel_bounds, scores);
          for (; hits != 0; hits &= hits - 1) {
            const auto c = static_cast<std::size_t>(__builtin_ctzll(hits));
            const std::size_t q = p * cols + c;
            if (self_ && begin + q == i + r) continue;
            best[q].push(scores[c], static_cast<std::uint32_t>(i + r));
            panel_bounds[c] = best[q].bound();
          }
        }
      }
    }
  }

  Row look_at(std::size_t i, Range& range) const {
    const float* x = data_.row(i);
    const float norm = -table_.ip.canonical(x, x, dim_);
    if (!(norm < kInf))
      check_finite("data", data_, 1);  // throws unless the values are finite and merely huge
    if (raw_cosine_) {
      // A norm out of the range of float says nothing; an infinite range sends every query to the scan.
      const bool usable = norm < kInf && norm > kSmallNorm;
      range.squared_norm =
          std::max(range.squared_norm,
                   usable || std::all_of(x, x + dim_, [](float v) { return v == 0; }) ? 1.0f : kInf);
      return {0.0f, usable ? 1 / std::sqrt(norm) : 0.0f};
    }
    range.squared_norm = std::max(range.squared_norm, norm);
    if (params_.metric != Metric::kL2) return {0.0f, 1.0f};
    const float bias = table_.l2.canonical(x, center_.data(), dim_) / 2;
    range.bias = std::max(range.bias, bias);
    return {bias, 1.0f};
  }

  /// Whether no row that was dropped from the proposals, all at `dropped` or above, can be among the k
  /// nearest, the k-th of which is at canonical distance `kth`.
  bool certified(std::size_t q, const Range& range, float dropped, float kth) const {
    if (dropped == kInf) return true;  // nothing was dropped
    const float* query = queries_.row(q);
    const double depth =
        static_cast<double>(kernels::kTileDepth) + static_cast<double>(dim_) / kernels::kTileDepth + 3;
    const double canonical = (static_cast<double>(dim_) / 32 + 8) * kUnit;
    double shifted = 0;
    for (std::size_t j = 0; j < dim_; ++j) {
      const double t = static_cast<double>(query[j]) - center_[j];
      shifted += t * t;
    }
    const double products = std::sqrt(range.squared_norm * shifted);
    // 1 % on top covers the terms of second order and the arithmetic of this bound.
    const double error =
        1.01 * (((depth + 3) * kUnit + canonical) * products + (canonical + kUnit) * range.bias) +
        static_cast<double>(dim_) * std::numeric_limits<float>::min();
    double nearest_dropped;
    if (params_.metric == Metric::kL2) {
      const double query_norm = squared_norm(query, dim_);
      const double constant = (query_norm - center_squared_norm_) / 2;
      const double slack = static_cast<double>(dim_) * 0x1p-52 * (query_norm + center_squared_norm_);
      nearest_dropped = 2 * (dropped - error + constant - slack) * (1 - canonical);
    } else {
      nearest_dropped = dropped - error - canonical * products;
    }
    return kth < nearest_dropped;  // false if anything overflowed to NaN
  }

  void settle(bool scan, std::size_t q, TopK& best, const Range& range) {
    std::vector<Scored>* entries = &best.finish();
    TopK exact(depth_);
    if (!scan) {
      const float dropped = best.bound();
      AlignedArray<float> scratch(dim_);
      for (Scored& e : *entries)
        e.score = kernels_.canonical(queries_.row(q), canonical_row(e.id, scratch.data()), dim_);
      std::sort(entries->begin(), entries->end());
      if (entries->size() < found_ ||
          !certified(q, range, dropped, found_ > 0 ? (*entries)[found_ - 1].score : -kInf)) {
        scan_rows(q, 0, data_.rows, {&exact, 1});
        entries = &exact.finish();
      }
    }
    const float shift = params_.metric == Metric::kCosine ? 1.0f : 0.0f;
    for (std::size_t i = 0; i < params_.k; ++i) {
      const bool has = i < entries->size();
      ids_[q * params_.k + i] = has ? static_cast<std::int64_t>((*entries)[i].id) : -1;
      distances_[q * params_.k + i] = has ? (*entries)[i].score + shift : kInf;
    }
  }

  const kernels::KernelTable& table_;
  const kernels::MetricKernels& kernels_;
  MatrixView<const float> data_, queries_;
  bool self_;
  const KnnParams& params_;
  std::size_t threads_;
  std::size_t dim_;
  std::size_t found_;  // neighbors a query has, at most k
  std::size_t depth_;  // entries an exact result can have
  std::size_t keep_;   // proposals kept per query
  std::int64_t* ids_;
  float* distances_;
  AlignedArray<float> normalized_;  // queries; in a self-join the data too
  bool raw_cosine_ = false;         // cosine on data that are not normalized
  AlignedArray<float> center_;
  double center_squared_norm_ = 0;
};

void check(MatrixView<const float> data, const KnnParams& params) {
  if (params.k == 0) throw std::invalid_argument("k: expected at least 1, got 0");
  if (data.rows > std::numeric_limits<std::uint32_t>::max())
    throw std::length_error("data: expected at most 2^32 - 1 rows, got " + std::to_string(data.rows));
}

}  // namespace

void knn(MatrixView<const float> data, MatrixView<const float> queries, const KnnParams& params,
         std::int64_t* ids, float* distances) {
  check_cols("queries", queries, data.cols);
  check(data, params);
  check_finite("queries", queries, resolve_threads(params.threads));
  Knn(data, queries, false, params, ids, distances).run();
}

void knn_self(MatrixView<const float> data, const KnnParams& params, std::int64_t* ids, float* distances) {
  check(data, params);
  Knn(data, data, true, params, ids, distances).run();
}

}  // namespace whimbrel
