// Local intrinsic dimensionality, one thread per point: the loop of cpp/src/lid/lid.cpp, in its order.
#include "whimbrel/cuda/lid.hpp"

#include <cstddef>
#include <limits>

namespace whimbrel::cuda {
namespace {

constexpr unsigned kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    estimate(MatrixView<const float> distances, bool squared, LidEstimator estimator, double* out) {
  const std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= distances.rows) return;
  const float* row = distances.data + i * distances.stride;
  const float inf = std::numeric_limits<float>::infinity();
  // Positive and finite: [first, last).
  std::size_t first = 0, last = 0;
  float before = 0;
  bool valid = true;
  for (std::size_t j = 0; j < distances.cols; ++j) {
    valid = valid && row[j] >= before;
    before = row[j];
    if (row[j] == 0) first = j + 1;
    if (row[j] < inf) last = j + 1;
  }
  const auto radius = [&](std::size_t j) { return squared ? __fsqrt_rn(row[j]) : row[j]; };
  if (!valid) {
    out[i] = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  if (last < first + 2) {
    out[i] = 0;
    return;
  }
  const double largest = radius(last - 1);
  if (radius(first) == radius(last - 1)) {
    out[i] = kMaxLid;
    return;
  }
  double log_ratios = 0, sum = 0;
  for (std::size_t j = first; j < last; ++j) {
    const float x = radius(j);
    if (estimator != LidEstimator::kMoments) log_ratios += log(largest / x);
    sum += x;
  }
  const auto k = static_cast<double>(last - first);
  double lid = 0;
  switch (estimator) {
    case LidEstimator::kMle:
      lid = k / log_ratios;
      break;
    case LidEstimator::kLevinaBickel:
      lid = (k - 1) / log_ratios;
      break;
    case LidEstimator::kUnbiased:
      lid = (k - 2) / log_ratios;
      break;
    case LidEstimator::kMoments:
      lid = sum / k / (largest - sum / k);
      break;
  }
  out[i] = lid < 0 ? 0 : kMaxLid < lid ? kMaxLid : lid;
}

}  // namespace

cudaError_t launch_lid(MatrixView<const float> distances, bool squared, LidEstimator estimator, double* out,
                       cudaStream_t stream) {
  if (distances.rows == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((distances.rows + kThreads - 1) / kThreads);
  estimate<<<blocks, kThreads, 0, stream>>>(distances, squared, estimator, out);
  return cudaGetLastError();
}

}  // namespace whimbrel::cuda
