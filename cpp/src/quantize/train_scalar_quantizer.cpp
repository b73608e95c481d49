// Learning a quantizer: the range of its codes, its projection, and whether it keeps neighborhoods apart.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "quantize/scalar_quantizer.hpp"
#include "quantize/subspace.hpp"

namespace whimbrel {
namespace {

/// Steps between values whose squares and products are normal floats.
constexpr float kMinStep = 1e-15f, kMaxValue = 1e15f;

std::vector<float> mean_of(MatrixView<const float> rows) {
  std::vector<double> sum(rows.cols);
  for (std::size_t i = 0; i < rows.rows; ++i)
    for (std::size_t j = 0; j < rows.cols; ++j) sum[j] += rows.row(i)[j];
  std::vector<float> mean(rows.cols);
  for (std::size_t j = 0; j < rows.cols; ++j)
    mean[j] = static_cast<float>(sum[j] / static_cast<double>(rows.rows));
  return mean;
}

/// Set middle and step from the sample's coordinates, (rows, code_dim) centered and projected. False if
/// squares would leave the range of floats.
bool fit_range(ScalarQuantizer& quantizer, MatrixView<const float> values, bool clip) {
  // l2 leaves out the farthest values and widens the rest by a quarter to both sides: four deviations of a
  // normal distribution stay inside, an outlier takes the last code. Inner products depend on their largest
  // values, so nothing is left out.
  const std::size_t skipped = clip ? values.rows / 256 : 0;
  const float widening = clip ? 0.25f : 0.05f;
  std::vector<float> column(values.rows);
  quantizer.middle.resize(quantizer.code_dim);
  float span = 0;
  for (std::size_t c = 0; c < quantizer.code_dim; ++c) {
    for (std::size_t i = 0; i < values.rows; ++i) column[i] = values.row(i)[c];
    const auto at = [&](std::size_t rank) {
      std::nth_element(column.begin(), column.begin() + static_cast<std::ptrdiff_t>(rank), column.end());
      return column[rank];
    };
    const float first = at(skipped), last = at(values.rows - 1 - skipped);
    if (!(std::abs(first) < kMaxValue && std::abs(last) < kMaxValue)) return false;
    quantizer.middle[c] = (first + last) / 2;
    span = std::max(span, last - first);
  }
  // Where nothing varies, any step will do.
  quantizer.step = span > 0 ? span * (1 + 2 * widening) / 255 : 1.0f;
  if (!(quantizer.step > kMinStep)) return false;
  return true;
}

/// How well codes tell the neighbors of sampled points: the share of the kNeighbors nearest in the sample
/// that are among the first kNeighbors * width by their codes.
class Trial {
 public:
  static constexpr std::size_t kNeighbors = 10, kQueries = 256;
  static constexpr float kWidths[] = {1.25f, 1.5f, 2.0f, 2.5f, 3.0f, 4.0f};
  static constexpr std::size_t kTrials = std::size(kWidths);

  Trial(MatrixView<const float> sample, Metric metric, std::size_t threads)
      : sample_(sample),
        metric_(metric),
        threads_(threads),
        n_queries_(std::min(kQueries, sample.rows)),
        nearest_(n_queries_) {
    const auto distance = kernels::metric_kernels(kernels::active_table(), metric).canonical;
    parallel_for(n_queries_, threads, [&](std::size_t q, std::size_t) {
      std::vector<std::pair<float, std::uint32_t>> all;
      for (std::size_t i = 0; i < sample.rows; ++i)
        if (i != row_of(q))
          all.emplace_back(distance(sample.row(row_of(q)), sample.row(i), sample.cols),
                           static_cast<std::uint32_t>(i));
      const std::size_t n = std::min(kNeighbors, all.size());
      std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end());
      for (std::size_t i = 0; i < n; ++i) nearest_[q].push_back(all[i].second);
    });
  }

  /// Shares for all widths.
  std::vector<double> shares(const ScalarQuantizer& quantizer) const {
    BlockRows<std::uint8_t> codes(quantizer.stride());
    codes.resize(sample_.rows);
    ScalarQuantizer::Scratch scratch(quantizer);
    for (std::size_t i = 0; i < sample_.rows; ++i) quantizer.encode(sample_.row(i), scratch, codes.row(i));
    const auto kernel = kernels::metric_kernels(kernels::active_table(), metric_).code_ids;
    std::vector<std::uint32_t> ids(sample_.rows);
    std::iota(ids.begin(), ids.end(), 0u);
    std::vector<std::size_t> found(n_queries_ * kTrials);
    parallel_for(n_queries_, threads_, [&](std::size_t q, std::size_t) {
      ScalarQuantizer::Scratch own(quantizer);
      std::vector<float> distances(ids.size());
      kernel(quantizer.encode_query(sample_.row(row_of(q)), own),
             {codes.blocks(), codes.shift(), codes.mask(), codes.stride()}, ids.data(), ids.size(),
             distances.data());
      for (const std::uint32_t node : nearest_[q]) {
        std::size_t rank = 0;
        for (std::size_t i = 0; i < ids.size(); ++i) {
          const bool nearer = i < node ? distances[i] <= distances[node] : distances[i] < distances[node];
          rank += i != row_of(q) && nearer;
        }
        for (std::size_t w = 0; w < kTrials; ++w)
          found[q * kTrials + w] += static_cast<float>(rank) < kWidths[w] * kNeighbors;
      }
    });
    std::vector<double> out(kTrials);
    std::size_t wanted = 0;
    for (std::size_t q = 0; q < n_queries_; ++q) {
      wanted += nearest_[q].size();
      for (std::size_t w = 0; w < kTrials; ++w) out[w] += static_cast<double>(found[q * kTrials + w]);
    }
    for (double& share : out) share /= static_cast<double>(std::max<std::size_t>(wanted, 1));
    return out;
  }

 private:
  std::size_t row_of(std::size_t query) const { return query * sample_.rows / n_queries_; }

  MatrixView<const float> sample_;
  Metric metric_;
  std::size_t threads_, n_queries_;
  std::vector<std::vector<std::uint32_t>> nearest_;
};

/// Neighbors in the sample that codes must keep at the second width to be used at all: a whole set is denser
/// than its sample, and loses several times as many.
constexpr std::size_t kJudged = 1;
constexpr double kMinShare = 0.995;
/// A search measures by the width after the first that keeps so many, for the same reason.
constexpr double kGoodShare = 0.999;
/// A projection costs its own products and a wider second measure, and is worth it if it leaves one part in
/// so many of the lines of codes. A third less was a tie (sentence embeddings).
constexpr std::size_t kMinShrink = 2;
/// Learning a projection takes the square of the dimension, a number of times.
constexpr std::size_t kMaxProjectedDim = 2048;

float width_for(const std::vector<double>& shares) {
  std::size_t w = 0;
  while (w + 1 < Trial::kTrials && shares[w] < kGoodShare) ++w;
  return Trial::kWidths[std::min(w + 1, Trial::kTrials - 1)];
}

/// The narrowest projection that keeps neighborhoods, of min_lines to max_lines lines of codes; empty if none
/// does. `plain` has the other facts of the data.
ScalarQuantizer find_projection(MatrixView<const float> centered, const ScalarQuantizer& plain,
                                const Trial& trial, std::size_t min_lines, std::size_t max_lines,
                                std::size_t threads) {
  const std::size_t n_columns = max_lines * kernels::kCodeLine, dim = centered.cols;
  const auto basis = principal_subspace(centered, n_columns, threads);
  std::vector<float> projected(centered.rows * n_columns);
  parallel_for(centered.rows, threads, [&](std::size_t i, std::size_t) {
    kernels::active_table().project(centered.row(i), dim, basis.data(), n_columns,
                                    projected.data() + i * n_columns);
  });
  for (std::size_t n = min_lines; n <= max_lines; ++n) {
    ScalarQuantizer narrow;
    narrow.dim = dim;
    narrow.code_dim = n * kernels::kCodeLine - (plain.has_tail ? sizeof(float) : 0);
    narrow.has_tail = plain.has_tail;
    narrow.center = plain.center;
    narrow.columns.resize(dim * narrow.padded_dim());
    for (std::size_t j = 0; j < dim; ++j)
      for (std::size_t c = 0; c < narrow.code_dim; ++c)
        narrow.columns[j * narrow.padded_dim() + c] = basis[j * n_columns + c];
    if (!fit_range(narrow, {projected.data(), centered.rows, narrow.code_dim, n_columns}, plain.has_tail))
      continue;
    const auto shares = trial.shares(narrow);
    if (shares[kJudged] < kMinShare) continue;
    narrow.rerank = width_for(shares);
    return narrow;
  }
  return {};
}

/// A byte per coordinate; `values` becomes the centered sample. Empty if the range will not do.
ScalarQuantizer fit_plain(MatrixView<const float> sample, bool has_tail, bool clip,
                          std::vector<float>& values) {
  ScalarQuantizer plain;
  plain.dim = plain.code_dim = sample.cols;
  plain.has_tail = has_tail;
  plain.center = mean_of(sample);
  values.resize(sample.rows * sample.cols);
  for (std::size_t i = 0; i < sample.rows; ++i)
    for (std::size_t j = 0; j < sample.cols; ++j)
      values[i * sample.cols + j] = sample.row(i)[j] - plain.center[j];
  if (!fit_range(plain, {values.data(), sample.rows, sample.cols}, clip)) return {};
  return plain;
}

}  // namespace

ScalarQuantizer fit_quantizer(MatrixView<const float> sample, bool clip) {
  std::vector<float> values;
  return fit_plain(sample, false, clip, values);
}

ScalarQuantizer train_scalar_quantizer(MatrixView<const float> sample, Metric metric, Codec codec,
                                       std::size_t threads) {
  if (codec == Codec::kF32 || sample.rows == 0 || round_up(sample.cols, 64) > kernels::kMaxCodeBytes)
    return {};
  std::vector<float> values;
  const bool l2 = metric == Metric::kL2;
  ScalarQuantizer plain = fit_plain(sample, l2, l2, values);
  if (plain.empty()) return {};
  const MatrixView<const float> centered{values.data(), sample.rows, sample.cols};
  const Trial trial(sample, metric, threads);
  const auto shares = trial.shares(plain);
  plain.rerank = width_for(shares);
  if (codec == Codec::kSq8) return plain;
  if (shares[kJudged] < kMinShare) return {};

  const std::size_t lines = plain.stride() / kernels::kCodeLine;
  if (sample.cols > kMaxProjectedDim) return plain;
  // Most data need few directions, and to find many of them takes long.
  std::size_t tried = 0;
  for (const std::size_t max_lines : {4, 8}) {
    const std::size_t wanted = std::min<std::size_t>(max_lines, lines / kMinShrink);
    if (wanted <= tried) break;
    ScalarQuantizer narrow = find_projection(centered, plain, trial, tried + 1, wanted, threads);
    if (!narrow.empty()) return narrow;
    tried = wanted;
  }
  return plain;
}

}  // namespace whimbrel
