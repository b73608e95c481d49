#include "base/vectors.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "base/parallel.hpp"

namespace whimbrel {

void check_finite(std::string_view name, MatrixView<const float> matrix, std::size_t threads) {
  constexpr std::size_t kRows = 4096;
  parallel_for((matrix.rows + kRows - 1) / kRows, threads, [&](std::size_t item, std::size_t) {
    for (std::size_t i = item * kRows; i < std::min(matrix.rows, (item + 1) * kRows); ++i) {
      // An exponent of all ones; in integers, so that the loop vectorizes.
      constexpr std::uint32_t kExponent = 0x7f800000;
      std::uint32_t bad = 0;
      for (float x : matrix.row_span(i)) bad |= (std::bit_cast<std::uint32_t>(x) & kExponent) == kExponent;
      if (bad != 0)
        throw std::invalid_argument(
            std::string(name) + ": expected finite values, got NaN or infinity in row " + std::to_string(i));
    }
  });
}

void check_cols(std::string_view name, MatrixView<const float> matrix, std::size_t dim) {
  if (matrix.cols != dim)
    throw std::invalid_argument(std::string(name) + ": expected shape (n, " + std::to_string(dim) +
                                "), got (" + std::to_string(matrix.rows) + ", " +
                                std::to_string(matrix.cols) + ")");
}

void check_metric(Metric metric) {
  if (metric != Metric::kL2 && metric != Metric::kIp && metric != Metric::kCosine)
    throw std::invalid_argument("metric: expected l2, ip or cosine");
}

double squared_norm(const float* row, std::size_t dim) {
  constexpr std::size_t kChains = 8;  // hide the latency of the adds
  double sum[kChains] = {};
  std::size_t i = 0;
  for (; i + kChains <= dim; i += kChains)
    for (std::size_t c = 0; c < kChains; ++c) sum[c] += static_cast<double>(row[i + c]) * row[i + c];
  for (std::size_t c = 0; i < dim; ++i, ++c) sum[c] += static_cast<double>(row[i]) * row[i];
  for (std::size_t half = kChains / 2; half > 0; half /= 2)
    for (std::size_t c = 0; c < half; ++c) sum[c] += sum[c + half];
  return sum[0];
}

void normalize(const float* row, std::size_t dim, float* out) {
  const double norm = std::sqrt(squared_norm(row, dim));
  for (std::size_t i = 0; i < dim; ++i) out[i] = norm > 0 ? static_cast<float>(row[i] / norm) : 0.0f;
}

}  // namespace whimbrel
