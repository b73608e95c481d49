#include "quantize/subspace.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

/// After 4, 256 columns hold within 0.2 % of the variance that any 256 can hold, and the first 188 of them
/// within 0.5 % (images of digits, sentence embeddings).
constexpr std::size_t kIterations = 4;
constexpr std::size_t kRowsPerItem = 16;

/// (dim, round_up(dim, 16)): sums of products of coordinates.
AlignedArray<float> covariance(MatrixView<const float> rows, std::size_t threads) {
  constexpr std::size_t kBlock = 256;  // rows that stay in the second-level cache
  const std::size_t d = rows.cols, stride = round_up(d, 16);
  const auto project = kernels::active_table().project;
  AlignedArray<float> out(d * stride), block(kBlock * stride);
  for (std::size_t begin = 0; begin < rows.rows; begin += kBlock) {
    const std::size_t n = std::min(kBlock, rows.rows - begin);
    for (std::size_t i = 0; i < n; ++i) std::copy_n(rows.row(begin + i), d, block.data() + i * stride);
    parallel_for((d + kRowsPerItem - 1) / kRowsPerItem, threads, [&](std::size_t item, std::size_t) {
      float column[kBlock];
      for (std::size_t j = item * kRowsPerItem; j < std::min(d, (item + 1) * kRowsPerItem); ++j) {
        for (std::size_t i = 0; i < n; ++i) column[i] = block[i * stride + j];
        project(column, n, block.data(), stride, out.data() + j * stride);
      }
    });
  }
  return out;
}

/// Modified Gram-Schmidt on the rows of (n, stride) values; what depends on the others becomes noise or zero.
/// One pass leaves errors between nearly dependent rows, a second one none.
void orthonormalize(float* rows, std::size_t n, std::size_t stride, std::size_t passes) {
  const auto dot = kernels::active_table().ip.canonical;
  for (std::size_t i = 0; i < n; ++i) {
    float* row = rows + i * stride;
    for (std::size_t pass = 0; pass < passes; ++pass)
      for (std::size_t j = 0; j < i; ++j) {
        const float* other = rows + j * stride;
        const float product = dot(row, other, stride);  // negative
        for (std::size_t c = 0; c < stride; ++c) row[c] += product * other[c];
      }
    const float norm = std::sqrt(-dot(row, row, stride));
    for (std::size_t c = 0; c < stride; ++c) row[c] = norm > 0 ? row[c] / norm : 0.0f;
  }
}

}  // namespace

AlignedArray<float> principal_subspace(MatrixView<const float> rows, std::size_t n_columns,
                                       std::size_t threads) {
  const std::size_t d = rows.cols, stride = round_up(d, 16);
  const auto project = kernels::active_table().project;
  AlignedArray<float> cov = covariance(rows, threads);
  // Scaled to a trace of 1, so that no power of it overflows.
  double trace = 0;
  for (std::size_t j = 0; j < d; ++j) trace += cov[j * stride + j];
  const auto scale = static_cast<float>(trace > 0 ? 1 / trace : 0);
  for (std::size_t i = 0; i < d * stride; ++i) cov[i] *= scale;

  // The basis by rows to orthonormalize, by columns to project with.
  AlignedArray<float> basis(n_columns * stride), columns(d * n_columns);
  for (std::size_t c = 0; c < n_columns; ++c)
    for (std::size_t j = 0; j < d; ++j)
      basis[c * stride + j] =
          static_cast<float>(static_cast<std::int64_t>(random_bits(0, RandomPurpose::kSubspace, c * d + j))) *
          0x1p-63f;
  for (std::size_t iteration = 0;; ++iteration) {
    orthonormalize(basis.data(), n_columns, stride, iteration == kIterations ? 2 : 1);
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t c = 0; c < n_columns; ++c) columns[j * n_columns + c] = basis[c * stride + j];
    if (iteration == kIterations) return columns;
    parallel_for((d + kRowsPerItem - 1) / kRowsPerItem, threads, [&](std::size_t item, std::size_t) {
      std::vector<float> sums(n_columns);
      for (std::size_t j = item * kRowsPerItem; j < std::min(d, (item + 1) * kRowsPerItem); ++j) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        project(cov.data() + j * stride, d, columns.data(), n_columns, sums.data());
        for (std::size_t c = 0; c < n_columns; ++c) basis[c * stride + j] = sums[c];
      }
    });
  }
}

}  // namespace whimbrel
