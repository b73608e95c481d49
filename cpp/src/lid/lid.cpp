// Estimators of local intrinsic dimensionality. Sums in double precision: with k terms of similar size the
// relative error stays below k 2^-53.
#include "whimbrel/lid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>

namespace whimbrel {
namespace {

/// @param r  positive, finite, ascending; at least two
double estimate(std::span<const float> r, LidEstimator estimator) {
  const double k = static_cast<double>(r.size());
  const double last = r.back();
  double log_ratios = 0, sum = 0;
  for (const float x : r) {
    log_ratios += std::log(last / x);
    sum += x;
  }
  switch (estimator) {
    case LidEstimator::kMle:
      return k / log_ratios;
    case LidEstimator::kLevinaBickel:
      return (k - 1) / log_ratios;
    case LidEstimator::kUnbiased:
      return (k - 2) / log_ratios;
    case LidEstimator::kMoments:
      return sum / k / (last - sum / k);
  }
  throw std::invalid_argument("estimator: expected a LidEstimator");
}

}  // namespace

void estimate_lid(MatrixView<const float> distances, LidEstimator estimator, double* out) {
  for (std::size_t i = 0; i < distances.rows; ++i) {
    const std::span<const float> row = distances.row_span(i);
    if (std::any_of(row.begin(), row.end(), [](float x) { return !(x >= 0); }) ||
        !std::is_sorted(row.begin(), row.end()))
      throw std::invalid_argument(
          "distances: expected each row ascending and not negative, got otherwise in row " +
          std::to_string(i));
    const auto first = std::upper_bound(row.begin(), row.end(), 0.0f);
    const auto last = std::lower_bound(first, row.end(), std::numeric_limits<float>::infinity());
    if (last - first < 2) {
      out[i] = 0;
      continue;
    }
    const double lid = estimate({first, last}, estimator);
    // All distances equal: the sums are 0 up to rounding, of either sign, and the estimate is infinite or 0 /
    // 0.
    out[i] = *first == *(last - 1) ? kMaxLid : std::clamp(lid, 0.0, kMaxLid);
  }
}

}  // namespace whimbrel
