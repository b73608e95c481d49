#include "fde_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fde_kernel.cuh"
#include "fde_product_kernel.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kSketchThreads = 256;

__global__ void __launch_bounds__(kSketchThreads)
    add_final(FinalSketch sketch, const float* rows, std::size_t n_rows, float* f32, __half* f16) {
  for (std::size_t i = blockIdx.x * std::size_t{kSketchThreads} + threadIdx.x; i < n_rows * sketch.dim_out;
       i += gridDim.x * std::size_t{kSketchThreads}) {
    const float* row = rows + i / sketch.dim_out * sketch.length;
    const std::size_t b = i % sketch.dim_out;
    float sum = 0;
    for (std::uint32_t e = b > 0 ? sketch.ends[b - 1] : 0; e < sketch.ends[b]; ++e) {
      const std::uint32_t entry = __ldg(sketch.entries + e);
      const float value = row[entry / 2];
      sum = __fadd_rn(sum, entry % 2 != 0 ? -value : value);
    }
    if (f32 != nullptr) f32[i] = sum;
    if (f16 != nullptr) f16[i] = __float2half_rn(sum);
  }
}

struct Device {
  int units = 0, shared_bytes = 0;

  cudaError_t ask() {
    int device = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&units, cudaDevAttrMultiProcessorCount, device);
    if (error == cudaSuccess)
      error = cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    return error;
  }
};

/// As many blocks as the device holds, for each of `passes`.
cudaError_t launch_blocks(void (*kernel)(FdeJob), const FdeJob& job, const Device& device, unsigned threads,
                          unsigned shared_bytes, unsigned passes, cudaStream_t stream) {
  int per_unit = 0;
  const auto function = reinterpret_cast<const void*>(kernel);
  cudaError_t error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(shared_bytes));
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_unit, function, static_cast<int>(threads),
                                                          shared_bytes);
  if (error != cudaSuccess) return error;
  if (per_unit == 0) return cudaErrorLaunchOutOfResources;
  const auto capacity = static_cast<unsigned>(device.units * per_unit);
  cudaLaunchConfig_t config = {};
  config.gridDim = {
      static_cast<unsigned>(std::min<std::size_t>(job.last - job.first, std::max(1u, capacity / passes))),
      passes, 1};
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, job);
}

/// Whether the products' kernel takes it: its registers hold the cells and the coordinates of a token, and a
/// block fits into shared memory.
bool fits_products(const FdeJob& job, const Device& device) {
  const unsigned most_reps = std::min(job.r_reps, kFdeMaxWarps * kQueryRows / kColumns + 2);
  return job.k_sim <= kMaxBits && job.d_proj % kColumns == 0 && job.n_steps <= kFdeHeldSteps &&
         FdeProductShared::bytes(job.pitch, most_reps * job.k_sim) <=
             static_cast<std::size_t>(device.shared_bytes);
}

template <bool kHalves>
cudaError_t launch_products(FdeJob job, const Device& device, bool aligned, cudaStream_t stream) {
  const unsigned warps = std::min(SetProducts<kHalves>::kMaxWarps, job.n_tiles);
  const unsigned rows = warps * kQueryRows, passes = (job.n_rows + rows - 1) / rows;
  job.pass_reps = std::min(job.r_reps, (rows - 2) / job.d_proj + 2);
  job.shares = TileShares(std::size_t{job.n_steps} * kStepDepth, sizeof(__half), warps * kLanes, aligned);
  job.plain_length = 60000 / std::sqrt(static_cast<float>(job.dim));
  const auto bytes = static_cast<unsigned>(FdeProductShared::bytes(job.pitch, job.pass_reps * job.k_sim));
  return launch_blocks(encode_products<kHalves>, job, device, warps * kLanes, bytes, passes, stream);
}

/// The general kernel: fewer tokens at a time, and then fewer warps, until a block fits.
template <class T>
cudaError_t launch_general(FdeJob job, const Device& device, bool aligned, cudaStream_t stream) {
  unsigned warps = std::min(kFdeMaxWarps, job.n_tiles);
  for (job.chunk = kFdeMaxChunk;; job.chunk /= 2) {
    if (job.chunk < 16) {
      if (warps == 1) return cudaErrorInvalidValue;
      warps = (warps + 1) / 2;
      job.chunk = kFdeMaxChunk;
    }
    job.pass_reps = std::min(job.r_reps, warps * kQueryRows / job.d_proj + 2);
    if (FdeShared(job, warps).end <= static_cast<unsigned>(device.shared_bytes)) break;
  }
  job.shares = TileShares(std::size_t{job.n_steps} * kStepDepth, sizeof(T), warps * kLanes, aligned);
  return launch_blocks(encode_sets<T>, job, device, warps * kLanes, FdeShared(job, warps).end, 1, stream);
}

template <class T>
cudaError_t launch(FdeJob job, const RaggedTokens& sets, cudaStream_t stream) {
  Device device;
  const cudaError_t error = device.ask();
  if (error != cudaSuccess) return error;
  job.pitch = TokenRows<sizeof(T)>::pitch(std::size_t{job.n_steps} * kStepDepth);
  job.tokens = sets.data;
  job.stride = sets.stride;
  job.n_tokens = sets.rows;
  job.offsets = sets.offsets;
  const bool aligned = sets.stride * sizeof(T) % kChunkBytes == 0 &&
                       reinterpret_cast<std::uintptr_t>(sets.data) % kChunkBytes == 0;
  // Floats are split by every warp that reads them: the general kernel, where a warp has more to do with a
  // token, is faster for them.
  if constexpr (sizeof(T) == sizeof(__half))
    if (fits_products(job, device))
      return job.d_proj % kQueryRows != 0 ? launch_products<true>(job, device, aligned, stream)
                                          : launch_products<false>(job, device, aligned, stream);
  return launch_general<T>(job, device, aligned, stream);
}

}  // namespace

cudaError_t launch_encode(FdeJob job, const RaggedTokens& sets, cudaStream_t stream) {
  if (job.first == job.last) return cudaSuccess;
  return sets.type == TokenType::kFloat16 ? launch<__half>(job, sets, stream)
                                          : launch<float>(job, sets, stream);
}

cudaError_t launch_final_sketch(const FinalSketch& sketch, const float* rows, std::size_t n_rows, float* f32,
                                std::uint16_t* f16, cudaStream_t stream) {
  if (n_rows == 0) return cudaSuccess;
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(std::min<std::size_t>(
      (n_rows * sketch.dim_out + kSketchThreads - 1) / kSketchThreads, std::size_t{1} << 20));
  config.blockDim = kSketchThreads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_final, sketch, rows, n_rows, f32, reinterpret_cast<__half*>(f16));
}

std::vector<std::uint16_t> make_operand(std::span<const float> rows, std::size_t n_rows, std::size_t dim,
                                        std::size_t n_steps) {
  const std::size_t n_tiles = round_up(n_rows, kQueryRows) / kQueryRows;
  std::vector<std::uint16_t> operand(n_tiles * n_steps * 2 * kLanes * 8);
  for (std::size_t tile = 0; tile < n_tiles; ++tile)
    for (std::size_t step = 0; step < n_steps; ++step)
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t lane = 0; lane < kLanes; ++lane)
          for (std::size_t i = 0; i < 8; ++i) {
            // Words: rows g, g + 8, g, g + 8; values 0..1 in the first two, 2..3 in the others.
            const std::size_t row = tile * kQueryRows + lane / 4 + i / 2 % 2 * 8;
            const std::size_t at =
                step_coordinate(static_cast<unsigned>(step), static_cast<unsigned>(half),
                                static_cast<unsigned>(lane % 4), static_cast<unsigned>(i / 4 * 2 + i % 2));
            const float value = row < n_rows && at < dim ? rows[row * dim + at] : 0.0f;
            operand[operand_index(tile, n_steps, step, half, lane) * 8 + i] =
                __half_as_ushort(__float2half_rn(value));
          }
  return operand;
}

}  // namespace whimbrel::cuda
