// Exact k nearest neighbors.
//
// Scores are proposed by tiles of inner products (as in a matrix product, the fastest thing a processor
// does), the best of them are computed again in canonical arithmetic, and a bound on the rounding error of
// the proposals certifies, query by query, that nothing better was missed. Queries that cannot be certified
// get better proposals: after those in bfloat16, where the processor has a matrix unit, those in float. What
// is left (ties at the k-th place, or coordinates so large that proposals carry no information) is scanned
// in canonical arithmetic.
//
// Proposal for l2, with mu the mean of the data and q' = q - mu rounded to float:
//   |x - q|^2 / 2 = |x - mu|^2 / 2 - x . q' + (|q|^2 - |mu|^2) / 2,
// where the last term is the same for all x. Centering keeps the products small for data far from the origin.
// Proposal for ip: -x . q. For cosine: -x . q / |x| with q normalized; joins work on a normalized
// copy.
//
// Error of a proposal: that of the product (product_tiles.hpp), plus u |x| |q'| for the rounding of q', plus
// (d / 32 + 9) u |x - mu|^2 for the bias and the subtraction; u = 2^-24.
#include "whimbrel/exact.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "base/hooks.hpp"
#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/product_tiles.hpp"
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
/// Queries of a chunk that scans.
constexpr std::size_t kScanChunk = 16;
/// A row that will be settled is fetched while so many before it are.
constexpr std::size_t kAhead = 2;
/// Rows per segment, and the groups of queries that each thread must have to do without segments.
constexpr std::size_t kSegmentRows = 4096;
constexpr std::size_t kGroupsPerThread = 8;
/// Rows scanned between two looks at whether to stop.
constexpr std::size_t kScanRows = 1024;

/// Which rows a query may find. Other than kAll: the queries are the last rows of the data.
enum class Scope {
  kAll,
  kOthers,   // all rows but its own
  kEarlier,  // the rows before its own
};

class Knn {
 public:
  Knn(MatrixView<const float> data, MatrixView<const float> queries, Scope scope, const KnnParams& params,
      std::int64_t* ids, float* distances)
      : table_(kernels::active_table()),
        kernels_(kernels::metric_kernels(table_, params.metric)),
        data_(data),
        queries_(queries),
        scope_(scope),
        first_(scope == Scope::kAll ? 0 : data.rows - queries.rows),
        params_(params),
        threads_(resolve_threads(params.threads)),
        dim_(data.cols),
        depth_(std::max<std::size_t>(1, std::min(params.k, data.rows))),
        ids_(ids),
        distances_(distances),
        meter_(params.progress, queries.rows) {}

  void run() {
    // The tiles look at the norm of every row that is seen and find out by themselves (look_at).
    const bool cosine = params_.metric == Metric::kCosine;
    const bool small = queries_.rows < kFewQueries || 8 * keep<FloatTiles>() >= data_.rows;
    const bool join = scope_ != Scope::kAll;
    if (small || (cosine && join) || scope_ == Scope::kEarlier) check_finite("data", data_, threads_);
    if (queries_.rows == 0) return;
    if (cosine && join) {
      data_ = normalized(data_, normalized_);
      queries_ = {data_.row(first_), queries_.rows, dim_};
    } else if (cosine) {
      queries_ = normalized(queries_, normalized_);
      raw_cosine_ = true;
    }
    open_.resize(queries_.rows);
    std::iota(open_.begin(), open_.end(), std::size_t{0});
    if (!small) {
      choose_center();
      if (Bf16Tiles::available(table_) && 8 * keep<Bf16Tiles>() < data_.rows) pass<Bf16Tiles>();
      if (open_.size() >= kFewQueries) pass<FloatTiles>();
    }
    scan();
    meter_.finish();
  }

 private:
  /// What a row contributes to its scores: bias - scale * product.
  struct Row {
    float bias, scale;
  };

  /// Bounds of |x|, of the bias, and of the squared norm lost by rounding, over the rows seen: what the error
  /// of a proposal depends on.
  struct Range {
    double norm = 0;
    float bias = 0;
    float lost = 0;
  };

  /// What the rows seen so far offer to the queries of a chunk.
  struct Found {
    std::vector<TopK> best;
    Range range;

    void merge(const Found& other) {
      for (std::size_t i = 0; i < best.size(); ++i) best[i].merge(other.best[i]);
      range.norm = std::max(range.norm, other.range.norm);
      range.bias = std::max(range.bias, other.range.bias);
      range.lost = std::max(range.lost, other.range.lost);
    }
  };

  /// Proposals kept per query: the coarser they are, the more it takes to be certain.
  template <class Tiles>
  std::size_t keep() const {
    return std::is_same_v<Tiles, FloatTiles> ? depth_ + std::max<std::size_t>(16, depth_ / 4)
                                             : 2 * depth_ + 44;
  }

  /// One pass over the data for the queries still open. Work items are chunks of queries, of equal size up to
  /// `max_groups` groups, that see all rows; or, where these would not occupy the threads evenly, chunks that
  /// see one segment of the rows each. The result is the same.
  ///
  /// offer(first query, rows begin, end, found) adds what the rows offer; close(query, best, range) is called
  /// once for each query at the end. Queries are positions in open_.
  template <class Offer, class Close>
  void for_chunks(std::size_t group, std::size_t max_groups, std::size_t keep, Offer offer, Close close) {
    const std::size_t n = open_.size(), groups = (n + group - 1) / group;
    const bool segmented = groups < kGroupsPerThread * threads_;
    const std::size_t n_segments =
        segmented ? std::max<std::size_t>(1, (data_.rows + kSegmentRows - 1) / kSegmentRows) : 1;
    std::size_t n_chunks = (groups + max_groups - 1) / max_groups;
    if (!segmented) n_chunks = round_up(n_chunks, threads_);
    const auto chunk_begin = [&](std::size_t c) { return std::min(n, c * groups / n_chunks * group); };
    const std::size_t before = queries_.rows - n;

    std::vector<std::vector<Found>> found(n_chunks);
    for (std::vector<Found>& f : found) f.resize(n_segments);
    parallel_for(
        n_chunks * n_segments, threads_,
        [&](std::size_t item, std::size_t) {
          const std::size_t c = item / n_segments, s = item % n_segments;
          const std::size_t begin = chunk_begin(c), end = chunk_begin(c + 1);
          Found& f = found[c][s];
          f.best.assign(end - begin, TopK(keep));
          const std::size_t first = n_segments == 1 ? 0 : s * kSegmentRows;
          const std::size_t last = n_segments == 1 ? data_.rows : std::min(data_.rows, first + kSegmentRows);
          const std::size_t seen = std::min(last, rows_seen(open_[end - 1]));
          if (first < seen) offer(begin, first, seen, f);
          if (n_segments == 1) {
            for (std::size_t q = begin; q < end; ++q) close(q, f.best[q - begin], f.range);
            f = {};
          }
        },
        [&](std::size_t done) { report(before + done * n / (n_chunks * n_segments)); });
    if (n_segments > 1) {
      parallel_for(n_chunks, threads_, [&](std::size_t c, std::size_t) {
        Found& all = found[c][0];
        for (std::size_t s = 1; s < n_segments; ++s) all.merge(found[c][s]);
        for (std::size_t i = 0; i < all.best.size(); ++i) close(chunk_begin(c) + i, all.best[i], all.range);
      });
    }
  }

  /// A pass that leaves queries open takes some of the progress back, which nobody wants to see.
  void report(std::size_t done) {
    reported_ = std::max(reported_, done);
    meter_.update(reported_);
  }

  /// Propose, settle what can be certified, leave the rest open.
  template <class Tiles>
  void pass() {
    const std::size_t panel_bytes = Tiles::cols(table_) * std::max<std::size_t>(dim_, 1) * Tiles::kValueBytes;
    CountedVector<std::uint8_t> settled(open_.size());
    for_chunks(
        Tiles::cols(table_), std::clamp<std::size_t>(kChunkBytes / panel_bytes, 1, Tiles::kMaxPanels),
        keep<Tiles>(),
        [&](std::size_t begin, std::size_t first, std::size_t last, Found& found) {
          propose<Tiles>(begin, first, last, found);
        },
        [&](std::size_t q, TopK& best, const Range& range) {
          settled[q] = settle<Tiles>(open_[q], best, range);
        });
    std::size_t n = 0;
    for (std::size_t q = 0; q < open_.size(); ++q)
      if (!settled[q]) open_[n++] = open_[q];
    open_.resize(n);
  }

  /// All rows in canonical arithmetic, for all queries still open.
  void scan() {
    if (open_.empty()) return;
    if (open_.size() < queries_.rows)
      log_line([&] {
        return "knn: ties or large coordinates, " + std::to_string(open_.size()) + " of " +
               std::to_string(queries_.rows) + " queries are scanned in canonical arithmetic";
      });
    for_chunks(
        1, kScanChunk, depth_,
        [&](std::size_t begin, std::size_t first, std::size_t last, Found& found) {
          scan_rows(begin, first, last, found.best);
        },
        [&](std::size_t q, TopK& best, const Range&) { write(open_[q], best.finish()); });
    open_.clear();
  }

  /// Rows that may be neighbors of query q: the first so many, but for itself.
  std::size_t rows_seen(std::size_t q) const { return scope_ == Scope::kEarlier ? first_ + q : data_.rows; }
  bool may_find(std::size_t q, std::size_t row) const {
    return row < rows_seen(q) && (scope_ != Scope::kOthers || row != first_ + q);
  }
  /// Neighbors it has, at most k.
  std::size_t found(std::size_t q) const {
    return std::min(params_.k, rows_seen(q) - (scope_ == Scope::kOthers ? 1 : 0));
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

  /// Any center is correct; the mean of a sample is near enough to keep the products small. It is rounded to
  /// a multiple of a power of two, small against the spread: centered integers stay integers, which rounding
  /// to few bits leaves as they are.
  void choose_center() {
    center_ = AlignedArray<float>(dim_);
    if (params_.metric != Metric::kL2) return;
    std::vector<double> sum(dim_);
    const std::size_t step = std::max<std::size_t>(1, data_.rows / 1024);
    double n = 0, squares = 0;
    for (std::size_t i = 0; i < data_.rows; i += step, ++n)
      for (std::size_t j = 0; j < dim_; ++j) {
        sum[j] += data_.row(i)[j];
        squares += static_cast<double>(data_.row(i)[j]) * data_.row(i)[j];
      }
    double variance = squares / n;
    for (double& x : sum) {
      x /= n;
      variance -= x * x;
    }
    const double spread = std::sqrt(std::max(0.0, variance) / static_cast<double>(dim_));
    const double grid = spread > 0 ? std::exp2(std::floor(std::log2(spread)) - 5) : 0;
    for (std::size_t j = 0; j < dim_; ++j)
      center_[j] = static_cast<float>(grid > 0 ? std::nearbyint(sum[j] / grid) * grid : sum[j]);
    center_squared_norm_ = squared_norm(center_.data(), dim_);
  }

  /// Offer rows [first, last) to the queries from `begin` on, in canonical arithmetic.
  void scan_rows(std::size_t begin, std::size_t first, std::size_t last, std::span<TopK> best) const {
    AlignedArray<float> scratch(dim_);
    for (std::size_t i = first; i < last; ++i) {
      if ((i - first) % kScanRows == 0) check_stop();
      const float* row = canonical_row(i, scratch.data());
      for (std::size_t q = 0; q < best.size(); ++q)
        if (may_find(open_[begin + q], i))
          best[q].push(kernels_.canonical(queries_.row(open_[begin + q]), row, dim_),
                       static_cast<std::uint32_t>(i));
    }
  }

  /// Offer rows [first, last) to the queries from `begin` on, in tiles.
  template <class Tiles>
  void propose(std::size_t begin, std::size_t first, std::size_t last, Found& found) const {
    std::vector<TopK>& best = found.best;
    const std::size_t rows = Tiles::rows(table_), cols = Tiles::cols(table_);
    Tiles tiles(table_, best.size(), dim_);
    tiles.fill(best.size(), [&](std::size_t i) { return queries_.row(open_[begin + i]); }, center_.data());
    // Columns that pad the last panel accept nothing.
    AlignedArray<float> bounds(tiles.panels() * cols);
    for (std::size_t i = 0; i < tiles.panels() * cols; ++i) bounds[i] = i < best.size() ? kInf : -kInf;
    alignas(kCacheLine) float scores[kernels::kMaxTileCols];
    Row row[kernels::kMaxTileRows];
    float lost[kernels::kMaxTileRows];

    for (std::size_t i = first; i < last; i += rows) {
      if ((i - first) % kSegmentRows < rows) check_stop();
      const std::size_t n = std::min(rows, last - i);
      tiles.load(data_.row(i), data_.stride, n, lost);
      for (std::size_t r = 0; r < n; ++r) row[r] = look_at(i + r, lost[r], found.range);
      for (std::size_t p = 0; p < tiles.panels(); ++p) {
        fetch_rows(i + rows + p * rows / tiles.panels(), i + rows + (p + 1) * rows / tiles.panels());
        const float* products = tiles.products(p);
        float* panel_bounds = bounds.data() + p * cols;
        for (std::size_t r = 0; r < n; ++r) {
          std::uint64_t hits =
              table_.select(products + r * cols, cols, row[r].bias, row[r].scale, panel_bounds, scores);
          for (; hits != 0; hits &= hits - 1) {
            const auto c = static_cast<std::size_t>(__builtin_ctzll(hits));
            const std::size_t q = p * cols + c;
            if (!may_find(open_[begin + q], i + r)) continue;
            best[q].push(scores[c], static_cast<std::uint32_t>(i + r));
            panel_bounds[c] = best[q].bound();
          }
        }
      }
    }
  }

  /// Bring rows near that will be wanted soon.
  void fetch_rows(std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin; i < std::min(end, data_.rows); ++i)
      for (std::size_t j = 0; j < dim_; j += kCacheLine / sizeof(float))
        __builtin_prefetch(data_.row(i) + j, 0, 2);
  }

  Row look_at(std::size_t i, float lost, Range& range) const {
    const float* x = data_.row(i);
    const bool l2 = params_.metric == Metric::kL2;
    const float squares =
        l2 ? table_.l2.canonical(x, center_.data(), dim_) : -table_.ip.canonical(x, x, dim_);
    if (!(squares < kInf))
      check_finite("data", data_, 1);  // throws unless the values are finite and merely huge
    const double norm = std::sqrt(static_cast<double>(squares));
    if (raw_cosine_) {
      // A norm out of the range of float says nothing; an infinite range sends every query to the scan.
      const bool usable = squares < kInf && squares > kSmallNorm;
      const bool zero = !usable && std::all_of(x, x + dim_, [](float v) { return v == 0; });
      range.norm = usable || zero ? std::max(range.norm, 1.0) : std::numeric_limits<double>::infinity();
      if (usable) range.lost = std::max(range.lost, lost / squares);
      return {0.0f, usable ? 1 / std::sqrt(squares) : 0.0f};
    }
    range.norm = std::max(range.norm, l2 ? norm + std::sqrt(center_squared_norm_) : norm);
    range.lost = std::max(range.lost, lost);
    if (!l2) return {0.0f, 1.0f};
    range.bias = std::max(range.bias, squares / 2);
    return {squares / 2, 1.0f};
  }

  /// What a proposal says of the canonical distance: at least (score - error) * scale + shift.
  struct Certificate {
    double error, scale, shift;
    /// Of every row proposed at this score or above. NaN if anything overflowed.
    double nearest(float score) const { return (score - error) * scale + shift; }
  };

  template <class Tiles>
  Certificate certificate(std::size_t q, const Range& range) const {
    const float* query = queries_.row(q);
    const double canonical = (static_cast<double>(dim_) / 32 + 8) * kUnit;
    double shifted = 0, lost = 0;
    for (std::size_t j = 0; j < dim_; ++j) {
      const double t = static_cast<double>(query[j]) - center_[j];
      const float entry = query[j] - center_[j];
      const double rest = static_cast<double>(entry) - Tiles::rounded(entry);
      shifted += t * t;
      lost += rest * rest;
    }
    // Squares below the normal range of float may be missing in the sums of a row.
    const double missing = std::sqrt(static_cast<double>(dim_) * std::numeric_limits<float>::min());
    const ProductNorms norms{range.norm + missing, std::sqrt(static_cast<double>(range.lost)) + missing,
                             std::sqrt(shifted), std::sqrt(lost)};
    const double products = norms.row * norms.query;
    // 1 % on top covers the terms of second order and the arithmetic of this bound.
    const double error = 1.01 * (Tiles::error(dim_, norms) + (3 * kUnit + canonical) * products +
                                 (canonical + kUnit) * range.bias) +
                         static_cast<double>(dim_) * std::numeric_limits<float>::min();
    if (params_.metric != Metric::kL2) return {error + canonical * products, 1, 0};
    const double query_norm = squared_norm(query, dim_);
    const double slack = static_cast<double>(dim_) * 0x1p-52 * (query_norm + center_squared_norm_);
    const double scale = 2 * (1 - canonical);
    return {error, scale, scale * ((query_norm - center_squared_norm_) / 2 - slack)};
  }

  /// Compute as many proposals again, in canonical arithmetic, as can be among the k nearest. Write the
  /// result, unless a row that was dropped could be among them too.
  template <class Tiles>
  bool settle(std::size_t q, TopK& best, const Range& range) const {
    const ScoredList& proposals = best.finish();
    const std::size_t n_found = found(q);
    if (proposals.size() < n_found) return false;
    const Certificate certificate = this->certificate<Tiles>(q, range);
    AlignedArray<float> scratch(dim_);
    ScoredList nearest;
    const auto kth = [&] { return n_found > 0 ? nearest[n_found - 1].score : -kInf; };
    bool certain = best.bound() == kInf;  // nothing was dropped
    for (std::size_t i = 0; i < proposals.size(); ++i) {
      const Scored& proposal = proposals[i];
      if (i + kAhead < proposals.size()) fetch_rows(proposals[i + kAhead].id, proposals[i + kAhead].id + 1);
      if (nearest.size() >= n_found && certificate.nearest(proposal.score) > kth()) {
        certain = true;
        break;
      }
      const Scored entry{
          kernels_.canonical(queries_.row(q), canonical_row(proposal.id, scratch.data()), dim_), proposal.id};
      nearest.insert(std::upper_bound(nearest.begin(), nearest.end(), entry), entry);
    }
    if (!certain && !(certificate.nearest(best.bound()) > kth())) return false;
    write(q, nearest);
    return true;
  }

  void write(std::size_t q, std::span<const Scored> entries) const {
    const float shift = params_.metric == Metric::kCosine ? 1.0f : 0.0f;
    for (std::size_t i = 0; i < params_.k; ++i) {
      const bool has = i < entries.size();
      ids_[q * params_.k + i] = has ? static_cast<std::int64_t>(entries[i].id) : -1;
      distances_[q * params_.k + i] = has ? entries[i].score + shift : kInf;
    }
  }

  const kernels::KernelTable& table_;
  const kernels::MetricKernels& kernels_;
  MatrixView<const float> data_, queries_;
  Scope scope_;
  std::size_t first_;  // row of the first query
  const KnnParams& params_;
  std::size_t threads_;
  std::size_t dim_;
  std::size_t depth_;  // entries an exact result can have
  std::int64_t* ids_;
  float* distances_;
  AlignedArray<float> normalized_;  // queries; in a join the data
  bool raw_cosine_ = false;         // cosine on data that are not normalized
  AlignedArray<float> center_;
  double center_squared_norm_ = 0;
  CountedVector<std::size_t> open_;  // queries not answered yet, in order
  ProgressMeter meter_;
  std::size_t reported_ = 0;
};

void check(MatrixView<const float> data, const KnnParams& params) {
  check_metric(params.metric);
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
  Knn(data, queries, Scope::kAll, params, ids, distances).run();
}

void knn_self(MatrixView<const float> data, const KnnParams& params, std::int64_t* ids, float* distances) {
  check(data, params);
  Knn(data, data, Scope::kOthers, params, ids, distances).run();
}

void knn_earlier(MatrixView<const float> data, std::size_t first, const KnnParams& params, std::int64_t* ids,
                 float* distances) {
  check(data, params);
  if (first > data.rows)
    throw std::invalid_argument("first: expected at most " + std::to_string(data.rows) + ", got " +
                                std::to_string(first));
  const MatrixView<const float> queries(data.row(first), data.rows - first, data.cols, data.stride);
  Knn(data, queries, Scope::kEarlier, params, ids, distances).run();
}

}  // namespace whimbrel
