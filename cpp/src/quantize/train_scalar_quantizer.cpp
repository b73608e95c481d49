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

/// The step with which 16 levels lose least of the values, each moved into its coordinate's range before:
/// where levels are so few, what a wide range costs all values outweighs what a narrow one costs the farthest
/// (a normal distribution loses least with levels up to 2.5 deviations). `widest`: covers all of the ranges.
float fit_step(MatrixView<const float> values, const std::vector<float>& middle,
               const std::vector<float>& half_range, float widest) {
  constexpr std::size_t kRows = 1024, kSteps = 32;
  constexpr float kNarrower = 0.92f, kMiddle = 7.5f;
  std::vector<float> row(values.cols);
  double errors[kSteps] = {};
  const std::size_t n = std::min(kRows, values.rows);
  for (std::size_t i = 0; i < n; ++i) {
    const float* value = values.row(i * values.rows / n);
    for (std::size_t c = 0; c < values.cols; ++c)
      row[c] = std::clamp(value[c] - middle[c], -half_range[c], half_range[c]);
    float step = widest;
    for (double& error : errors) {
      const float inverse = 1 / step;
      float sum = 0;
      for (const float x : row) {
        const float rounded = std::clamp(x * inverse + kMiddle, 0.0f, 2 * kMiddle) + 0.5f;
        const float e = x - step * (static_cast<float>(static_cast<int>(rounded)) - kMiddle);
        sum += e * e;
      }
      error += sum;
      step *= kNarrower;
    }
  }
  float step = widest;
  for (auto best = std::min_element(std::begin(errors), std::end(errors)); best != errors; --best)
    step *= kNarrower;
  return step;
}

/// Set middle and step from the sample's coordinates, (rows, code_dim) centered and projected. False if
/// squares would leave the range of floats.
bool fit_range(ScalarQuantizer& quantizer, MatrixView<const float> values, bool clip) {
  // l2 leaves out the farthest values and widens the rest by a quarter to both sides: four deviations of a
  // normal distribution stay inside, an outlier takes the last code. Inner products depend on their largest
  // values, so nothing is left out.
  const std::size_t skipped = clip ? values.rows / 256 : 0;
  const float widening = clip ? 0.25f : 0.05f;
  std::vector<float> column(values.rows), half_range(quantizer.code_dim);
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
    half_range[c] = (last - first) / 2;
    span = std::max(span, last - first);
  }
  const auto highest = static_cast<float>(quantizer.layout().highest());
  // Where nothing varies, any step will do.
  quantizer.step = span > 0 ? span * (1 + 2 * widening) / highest : 1.0f;
  if (quantizer.bits == 4 && quantizer.step > kMinStep)
    quantizer.step = fit_step(values, quantizer.middle, half_range, quantizer.step);
  if (!(quantizer.step > kMinStep)) return false;
  return true;
}

/// How well codes tell the neighbors of some sampled points: the share of the kNeighbors nearest in the
/// sample that are among the first kNeighbors * width by their codes.
class Trial {
 public:
  static constexpr std::size_t kNeighbors = 10;
  static constexpr float kWidths[] = {1.25f, 1.5f, 2.0f, 2.5f, 3.0f, 4.0f};
  static constexpr std::size_t kTrials = std::size(kWidths);

  Trial(MatrixView<const float> sample, std::vector<std::size_t> queries, Metric metric, std::size_t threads)
      : sample_(sample),
        queries_(std::move(queries)),
        metric_(metric),
        threads_(threads),
        nearest_(queries_.size()) {
    const auto distance = kernels::metric_kernels(kernels::active_table(), metric).canonical;
    parallel_for(queries_.size(), threads, [&](std::size_t q, std::size_t) {
      std::vector<std::pair<float, std::uint32_t>> all;
      for (std::size_t i = 0; i < sample.rows; ++i)
        if (i != queries_[q])
          all.emplace_back(distance(sample.row(queries_[q]), sample.row(i), sample.cols),
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
    const auto kernel = quantizer.ids_kernel(kernels::metric_kernels(kernels::active_table(), metric_));
    std::vector<std::uint32_t> ids(sample_.rows);
    std::iota(ids.begin(), ids.end(), 0u);
    std::vector<std::size_t> found(queries_.size() * kTrials);
    parallel_for(queries_.size(), threads_, [&](std::size_t q, std::size_t) {
      ScalarQuantizer::Scratch own(quantizer);
      std::vector<float> distances(ids.size());
      kernel(quantizer.encode_query(sample_.row(queries_[q]), own),
             {codes.blocks(), codes.shift(), codes.mask(), codes.stride()}, ids.data(), ids.size(),
             distances.data());
      for (const std::uint32_t node : nearest_[q]) {
        std::size_t rank = 0;
        for (std::size_t i = 0; i < ids.size(); ++i) {
          const bool nearer = i < node ? distances[i] <= distances[node] : distances[i] < distances[node];
          rank += i != queries_[q] && nearer;
        }
        for (std::size_t w = 0; w < kTrials; ++w)
          found[q * kTrials + w] += static_cast<float>(rank) < kWidths[w] * kNeighbors;
      }
    });
    std::vector<double> out(kTrials);
    std::size_t wanted = 0;
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      wanted += nearest_[q].size();
      for (std::size_t w = 0; w < kTrials; ++w) out[w] += static_cast<double>(found[q * kTrials + w]);
    }
    for (double& share : out) share /= static_cast<double>(std::max<std::size_t>(wanted, 1));
    return out;
  }

 private:
  MatrixView<const float> sample_;
  std::vector<std::size_t> queries_;  // rows of the sample
  Metric metric_;
  std::size_t threads_;
  std::vector<std::vector<std::uint32_t>> nearest_;
};

/// Points of a trial, spread evenly over the sample.
constexpr std::size_t kTried = 256;

std::vector<std::size_t> evenly_spread(std::size_t n_rows) {
  std::vector<std::size_t> rows(std::min(kTried, n_rows));
  for (std::size_t q = 0; q < rows.size(); ++q) rows[q] = q * n_rows / rows.size();
  return rows;
}

/// Neighbors in the sample that codes must keep at the second width to be used at all: a whole set is denser
/// than its sample, and loses several times as many.
constexpr std::size_t kJudged = 1;
constexpr double kMinShare = 0.995;
/// Links are chosen among many more candidates than a search returns, and lead on where one is missing.
constexpr double kMinShareToLink = 0.99;
/// Of so many points that a projection leaves most of, their neighbors to keep: a rare kind of vectors may
/// lie across the directions in which the others vary.
constexpr std::size_t kOutlying = 64;
constexpr double kMinShareOutlying = 0.95;
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

/// The rows of which a projection leaves most.
std::vector<std::size_t> outlying(MatrixView<const float> centered, MatrixView<const float> projected) {
  const auto ip = kernels::active_table().ip.canonical;  // negated
  std::vector<std::pair<float, std::size_t>> kept(centered.rows);
  for (std::size_t i = 0; i < centered.rows; ++i) {
    const float *all = centered.row(i), *part = projected.row(i);
    kept[i] = {ip(all, all, centered.cols) - ip(part, part, projected.cols), i};
  }
  const std::size_t n = std::min(kOutlying, kept.size());
  std::partial_sort(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(n), kept.end());
  std::vector<std::size_t> rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = kept[i].second;
  return rows;
}

/// What a projection is looked for on.
struct Sample {
  MatrixView<const float> rows, centered;
  Metric metric;
  const Trial& trial;
  std::size_t threads;
};

/// The narrowest projection that keeps neighborhoods, of min_lines to max_lines lines of codes; empty if none
/// does. `plain` has the other facts of the data.
ScalarQuantizer find_projection(const Sample& sample, const ScalarQuantizer& plain, std::size_t min_lines,
                                std::size_t max_lines, double min_share) {
  const MatrixView<const float> centered = sample.centered;
  const std::size_t n_columns = max_lines * kernels::kCodeLine, dim = centered.cols;
  const auto basis = principal_subspace(centered, n_columns, sample.threads);
  std::vector<float> values(centered.rows * n_columns);
  parallel_for(centered.rows, sample.threads, [&](std::size_t i, std::size_t) {
    kernels::active_table().project(centered.row(i), dim, basis.data(), n_columns,
                                    values.data() + i * n_columns);
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
    const MatrixView<const float> projected{values.data(), centered.rows, narrow.code_dim, n_columns};
    if (!fit_range(narrow, projected, plain.has_tail)) continue;
    const auto shares = sample.trial.shares(narrow);
    if (shares[kJudged] < min_share) continue;
    const Trial strict(sample.rows, outlying(centered, projected), sample.metric, sample.threads);
    if (strict.shares(narrow)[kJudged] < kMinShareOutlying) continue;
    narrow.rerank = width_for(shares);
    return narrow;
  }
  return {};
}

/// The same for at most `most` lines. Most data need few directions, and to find many of them takes long.
ScalarQuantizer find_narrow(const Sample& sample, const ScalarQuantizer& plain, std::size_t most,
                            double min_share) {
  std::size_t tried = 0;
  for (const std::size_t max_lines : {4u, 8u}) {
    const std::size_t wanted = std::min<std::size_t>(max_lines, most);
    if (wanted <= tried) break;
    ScalarQuantizer narrow = find_projection(sample, plain, tried + 1, wanted, min_share);
    if (!narrow.empty()) return narrow;
    tried = wanted;
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

/// Codes of 4 bits of the coordinates themselves; empty where they are no shorter than those of `plain`,
/// which has the other facts, or the range will not do.
ScalarQuantizer fit_coarse(MatrixView<const float> centered, const ScalarQuantizer& plain) {
  ScalarQuantizer coarse = plain.coarse();
  return coarse.bits == 4 && fit_range(coarse, centered, plain.has_tail) ? coarse : ScalarQuantizer{};
}

}  // namespace

ScalarQuantizer fit_quantizer(MatrixView<const float> sample, bool clip) {
  std::vector<float> values;
  return fit_plain(sample, false, clip, values);
}

ScalarQuantizer fit_narrow_quantizer(MatrixView<const float> sample, std::size_t threads) {
  if (sample.cols > kMaxProjectedDim) return {};
  std::vector<float> values;
  const ScalarQuantizer plain = fit_plain(sample, true, true, values);
  if (plain.empty()) return {};
  const Trial trial(sample, evenly_spread(sample.rows), Metric::kL2, threads);
  ScalarQuantizer narrow =
      find_narrow({sample, {values.data(), sample.rows, sample.cols}, Metric::kL2, trial, threads}, plain,
                  plain.code_bytes() / kernels::kCodeLine * 2 / 3, kMinShareToLink);
  narrow.has_tail = false;
  return narrow;
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
  if (codec == Codec::kSq4 && plain.coarse().bits == 4) plain = fit_coarse(centered, plain);
  if (plain.empty()) return {};
  const Trial trial(sample, evenly_spread(sample.rows), metric, threads);
  const auto shares = trial.shares(plain);
  plain.rerank = width_for(shares);
  if (codec != Codec::kAuto) return plain;
  if (shares[kJudged] < kMinShare) return {};
  const std::size_t lines = plain.stride() / kernels::kCodeLine;
  std::size_t most = lines / kMinShrink;
  if (ScalarQuantizer coarse = fit_coarse(centered, plain); !coarse.empty()) {
    const auto kept = trial.shares(coarse);
    if (kept[kJudged] >= kMinShare) {
      coarse.rerank = width_for(kept);
      plain = std::move(coarse);
      most = std::min(most, plain.stride() / kernels::kCodeLine - 1);
    }
  }
  if (sample.cols > kMaxProjectedDim) return plain;
  ScalarQuantizer narrow = find_narrow({sample, centered, metric, trial, threads}, plain, most, kMinShare);
  return narrow.empty() ? plain : narrow;
}

}  // namespace whimbrel
