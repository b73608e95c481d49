// Preparing rows for the scan: norms, center and scale, fp16 values with their rounding errors. One warp per
// row, at the speed of memory; the sums are in double precision, which the error bounds take as exact.
#include "prepare.cuh"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "rows.cuh"
#include "scan_layout.hpp"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kBlockThreads = 256, kWarps = kBlockThreads / kLanes;
constexpr std::size_t kMaxBlocks = 4096;
constexpr unsigned kCenterThreads = 1024;
constexpr std::size_t kCenterSample = 1024;
/// cpp/src/base/vectors.cpp sums squares in as many chains.
constexpr unsigned kNormChains = 8;

unsigned blocks_for(std::size_t n_warps) {
  return static_cast<unsigned>(std::clamp<std::size_t>((n_warps + kWarps - 1) / kWarps, 1, kMaxBlocks));
}

/// The power of two that brings a norm to [2^9, 2^10): the values' squares stay far from the ends of fp16,
/// and queries may be 64 times as long.
__host__ __device__ double scale_for(double norm) { return norm > 0 ? ldexp(1.0, 9 - ilogb(norm)) : 1.0; }

__device__ double sum_of_warp(double value) {
  for (unsigned step = kLanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ void maximum(unsigned long long* place, double value) {
  atomicMax(place, static_cast<unsigned long long>(__double_as_longlong(value)));
}

/// The norm by which the CPU divides, with its bits: products of floats are exact in double, so only the
/// order of the sums matters. Valid in all lanes.
template <class T>
__device__ double cpu_norm(const T* row, std::size_t dim, unsigned lane) {
  double sum = 0;
  if (lane < kNormChains)
    for (std::size_t i = lane; i < dim; i += kNormChains) {
      const double x = to_float(row[i]);
      sum += x * x;
    }
  for (unsigned half = kNormChains / 2; half > 0; half /= 2) sum += __shfl_down_sync(kAllLanes, sum, half);
  return __dsqrt_rn(__shfl_sync(kAllLanes, sum, 0));
}

/// The mean of a sample of the rows, rounded to a multiple of a power of two that is small against the
/// spread: centered integers stay integers, which fp16 often keeps as they are. Any center is correct.
__global__ void __launch_bounds__(kCenterThreads) find_center(DeviceRows rows, double* means, float* center) {
  __shared__ double variance[kCenterThreads];
  const std::size_t step = rows.rows / kCenterSample > 0 ? rows.rows / kCenterSample : 1;
  const std::size_t n = (rows.rows + step - 1) / step;
  double own = 0;
  for (std::size_t j = threadIdx.x; j < rows.cols; j += kCenterThreads) {
    double sum = 0, squares = 0;
#pragma unroll 8
    for (std::size_t i = 0; i < n; ++i) {
      const double x = with_row(rows, i * step, [&](const auto* row) { return to_float(row[j]); });
      sum += x;
      squares += x * x;
    }
    const double mean = sum / static_cast<double>(n);
    means[j] = mean;
    own += squares / static_cast<double>(n) - mean * mean;
  }
  variance[threadIdx.x] = own;
  for (unsigned half = kCenterThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) variance[threadIdx.x] += variance[threadIdx.x + half];
  }
  __syncthreads();
  const double spread = sqrt(fmax(0.0, variance[0]) / static_cast<double>(rows.cols));
  const double grid = spread > 0 && isfinite(spread) ? ldexp(1.0, ilogb(spread) - 5) : 0;
  for (std::size_t j = threadIdx.x; j < rows.cols; j += kCenterThreads) {
    const double mean = grid > 0 ? rint(means[j] / grid) * grid : means[j];
    center[j] = static_cast<float>(mean);
  }
}

/// Norms of centered rows into the summary; of cosine rows into `norms`; the first row that is not finite.
__global__ void __launch_bounds__(kBlockThreads)
    measure_rows(DeviceRows rows, const float* center, double* norms, RowSummary* summary) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t n_warps = std::size_t{gridDim.x} * kWarps;
  double largest = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * kWarps + threadIdx.x / kLanes; i < rows.rows; i += n_warps) {
    bool finite = true;
    double sum = 0;
    with_row(rows, i, [&](const auto* row) {
      for (std::size_t j = lane; j < rows.cols; j += kLanes) {
        const float x = to_float(row[j]);
        finite = finite && isfinite(x);
        const double t = static_cast<double>(x) - (center != nullptr ? center[j] : 0.0f);
        sum += t * t;
      }
      if (norms != nullptr) {
        const double norm = cpu_norm(row, rows.cols, lane);
        if (lane == 0) norms[i] = norm;
      }
    });
    if (!__all_sync(kAllLanes, finite)) {
      if (lane == 0) atomicMax(&summary->bad, static_cast<unsigned long long>(rows.rows - i));
      continue;
    }
    sum = sum_of_warp(sum);
    largest = fmax(largest, sqrt(sum));
  }
  if (lane == 0 && largest > 0) maximum(&summary->norm, largest);
}

/// One value of an operand, and the square of what rounding took from it.
__device__ __half round_value(double value, double& lost) {
  const __half rounded = __double2half(value);
  const double rest = value - static_cast<double>(__half2float(rounded));
  lost += rest * rest;
  return rounded;
}

/// A row of an operand in memory.
class OperandRow {
 public:
  __device__ OperandRow(__half* operand, std::size_t row, std::size_t depth)
      : operand_(reinterpret_cast<unsigned char*>(operand)), row_(row), steps_(depth / kDepthStep) {}
  /// Values j and j + 1, j even.
  __device__ void set(std::size_t j, __half2 pair) const {
    constexpr unsigned kPerChunk = kChunkBytes / 2;
    unsigned char* chunk = operand_ + operand_offset(row_, j / kPerChunk, steps_);
    reinterpret_cast<__half2*>(chunk)[j % kPerChunk / 2] = pair;
  }
  __device__ void clear(unsigned lane) const {
    for (std::size_t j = 2 * lane; j < steps_ * kDepthStep; j += 2 * kLanes) set(j, __half2{});
  }

 private:
  unsigned char* operand_;
  std::size_t row_, steps_;
};

/// fp16 values of one row of `dim` values given by value(j), already centered and scaled, by a warp; sums of
/// squares in all lanes.
struct RowSquares {
  double norm, lost;
};
template <class Value>
__device__ RowSquares write_operand(const OperandRow& out, std::size_t dim, std::size_t depth, unsigned lane,
                                    Value value) {
  double norm = 0, lost = 0;
  for (std::size_t j = 2 * lane; j < depth; j += 2 * kLanes) {
    const double x = j < dim ? value(j) : 0.0, y = j + 1 < dim ? value(j + 1) : 0.0;
    norm += x * x + y * y;
    __half2 pair;
    pair.x = round_value(x, lost);
    pair.y = round_value(y, lost);
    out.set(j, pair);
  }
  return {sum_of_warp(norm), sum_of_warp(lost)};
}

struct OperandTask {
  DeviceRows rows;
  const float* center;
  const double* norms;
  __half* values;
  float* bias;
  std::size_t padded_rows, depth;
};

__global__ void __launch_bounds__(kBlockThreads) write_rows(OperandTask task, RowSummary* summary) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t n_warps = std::size_t{gridDim.x} * kWarps;
  const double scale =
      scale_for(task.norms != nullptr ? 1.0 : __longlong_as_double(static_cast<long long>(summary->norm)));
  double norm = 0, lost = 0, bias = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * kWarps + threadIdx.x / kLanes; i < task.padded_rows;
       i += n_warps) {
    const OperandRow out(task.values, i, task.depth);
    if (i >= task.rows.rows) {
      out.clear(lane);
      if (lane == 0) task.bias[i] = std::numeric_limits<float>::infinity();
      continue;
    }
    const RowSquares squares = with_row(task.rows, i, [&](const auto* row) {
      using T = std::remove_cvref_t<decltype(*row)>;
      if (task.norms != nullptr) {
        const UnitRow<T> unit{row, task.norms[i]};
        return write_operand(out, task.rows.cols, task.depth, lane,
                             [&](std::size_t j) { return static_cast<double>(unit[j]) * scale; });
      }
      return write_operand(out, task.rows.cols, task.depth, lane, [&](std::size_t j) {
        return (static_cast<double>(to_float(row[j])) - (task.center != nullptr ? task.center[j] : 0.0f)) *
               scale;
      });
    });
    norm = fmax(norm, squares.norm);
    lost = fmax(lost, squares.lost);
    const float half_norm = task.center != nullptr ? static_cast<float>(squares.norm / 2) : 0.0f;
    bias = fmax(bias, static_cast<double>(half_norm));
    if (lane == 0) task.bias[i] = half_norm;
  }
  if (lane == 0) {
    maximum(&summary->lost, sqrt(lost));
    maximum(&summary->bias, bias);
    maximum(&summary->scaled_norm, sqrt(norm));
  }
}

struct QueryTask {
  DeviceRows queries;
  std::size_t padded, depth;
  const float* center;
  Metric metric;
  double scale;
  OperandBounds bounds;
  bool certify;
  QueryOperand out;
};

__global__ void __launch_bounds__(kBlockThreads) write_queries(QueryTask task) {
  const unsigned lane = threadIdx.x % kLanes;
  const std::size_t i = std::size_t{blockIdx.x} * kWarps + threadIdx.x / kLanes;
  if (i == 0 && lane == 0) *task.out.open = 0;
  if (i >= task.padded) return;
  const OperandRow out(task.out.values, i, task.depth);
  const std::size_t dim = task.queries.cols;
  bool finite = true;
  double norm = 0;
  if (i < task.queries.rows)
    with_row(task.queries, i, [&](const auto* row) {
      double sum = 0;
      for (std::size_t j = lane; j < dim; j += kLanes) {
        const float x = to_float(row[j]);
        finite = finite && isfinite(x);
        sum += static_cast<double>(x) * x;
      }
      norm = task.metric == Metric::kCosine ? cpu_norm(row, dim, lane) : sqrt(sum_of_warp(sum));
    });
  finite = __all_sync(kAllLanes, finite);
  if (i >= task.queries.rows || !finite) {
    out.clear(lane);
    if (i < task.queries.rows && lane == 0) task.out.slack[i] = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  const bool l2 = task.metric == Metric::kL2;
  // Scores of l2 need the scale of the rows; products may have any.
  const double scale = l2 ? task.scale : scale_for(task.metric == Metric::kCosine ? 1.0 : norm);
  float* canonical = task.out.rows + i * dim;
  const RowSquares squares = with_row(task.queries, i, [&](const auto* row) {
    using T = std::remove_cvref_t<decltype(*row)>;
    const UnitRow<T> unit{row, norm};
    return write_operand(out, dim, task.depth, lane, [&](std::size_t j) {
      const float x = task.metric == Metric::kCosine ? unit[j] : to_float(row[j]);
      canonical[j] = x;
      return ((l2 ? static_cast<double>(task.center[j]) : 0.0) - static_cast<double>(x)) * scale;
    });
  });
  const QueryNorms norms{sqrt(squares.norm), sqrt(squares.lost)};
  const double unit = l2 ? 2 / (task.scale * task.scale) : 1 / (task.scale * scale);
  const double error = score_error(l2, dim, task.depth, task.bounds, norms, unit);
  // A value beyond fp16 became infinite, and with it what rounding took: the error is infinite or NaN.
  const bool usable = error < 0x1p100;
  if (lane == 0)
    task.out.slack[i] = !usable        ? std::numeric_limits<float>::infinity()
                        : task.certify ? __double2float_ru(2 * error)
                                       : 0.0f;
}

}  // namespace

cudaError_t prepare_rows(const DeviceRows& rows, const RowOperand& out, std::size_t padded, std::size_t depth,
                         cudaStream_t stream) {
  if (const cudaError_t code = cudaMemsetAsync(out.summary, 0, sizeof(RowSummary), stream);
      code != cudaSuccess)
    return code;
  if (out.center != nullptr) find_center<<<1, kCenterThreads, 0, stream>>>(rows, out.means, out.center);
  measure_rows<<<blocks_for(rows.rows), kBlockThreads, 0, stream>>>(rows, out.center, out.norms, out.summary);
  const OperandTask task = {rows, out.center, out.norms, out.values, out.bias, padded, depth};
  write_rows<<<blocks_for(padded), kBlockThreads, 0, stream>>>(task, out.summary);
  return cudaGetLastError();
}

double operand_scale(const RowSummary& summary, Metric metric) {
  return scale_for(metric == Metric::kCosine ? 1.0 : std::bit_cast<double>(summary.norm));
}

cudaError_t prepare_queries(const DeviceRows& queries, std::size_t padded, const ScanOperand& data,
                            Metric metric, bool certify, const QueryOperand& out, cudaStream_t stream) {
  const QueryTask task = {queries,    padded,      data.depth, data.center, metric,
                          data.scale, data.bounds, certify,    out};
  const auto blocks = static_cast<unsigned>((padded + kWarps - 1) / kWarps);
  write_queries<<<blocks, kBlockThreads, 0, stream>>>(task);
  return cudaGetLastError();
}

}  // namespace whimbrel::cuda
