// Local intrinsic dimensionality (LID) of points, from the distances to their nearest neighbors.
#pragma once

#include <cstddef>

#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// With S = sum_{i<k} ln(r_k / r_i) over the k neighbor distances r_1 <= ... <= r_k of a point:
enum class LidEstimator {
  kMle,           ///< k / S: Amsaleg et al., "Estimating local intrinsic dimensionality", KDD 2015
  kLevinaBickel,  ///< (k - 1) / S: Levina and Bickel, NIPS 2004
  kUnbiased,      ///< (k - 2) / S: mean d on a uniform d-ball
  kMoments,       ///< mean(r) / (r_k - mean(r)): method of moments, Amsaleg et al., KDD 2015
};

/// Estimates never exceed this; it stands for "all neighbors equally far" (S = 0), where the formulas give
/// infinity.
inline constexpr double kMaxLid = 1e4;

/// One estimate per row of `distances`, in double precision.
///
/// @param distances  (n, k) true Euclidean distances (not squared: that halves the LID), ascending, without
///                   the point itself. Zeros (exact duplicates) are left out and k reduced accordingly;
///                   so are +inf entries (missing neighbors). With fewer than 2 left the LID is 0: all the
///                   neighbors sit on the point.
/// @param out        (n,) values in [0, kMaxLid]
/// @throws std::invalid_argument on a negative or NaN distance or a row that is not ascending
WHIMBREL_API void estimate_lid(MatrixView<const float> distances, LidEstimator estimator, double* out);

}  // namespace whimbrel
