// Fixed dimensional encodings on a GPU: sets of token vectors to one vector each (whimbrel/fde.hpp says what
// they are). Cells are those of the CPU; coordinates differ from the CPU's by rounding only.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "whimbrel/cuda/ragged_tokens.hpp"
#include "whimbrel/fde.hpp"

namespace whimbrel::cuda {

/// Where encodings go, (sets, dim_out) in C order in device memory: one of the first two, 16-byte aligned.
struct FdeDeviceOutput {
  float* f32 = nullptr;
  std::uint16_t* f16 = nullptr;  ///< rounded to nearest even
  /// If not null: the cell of each token in each repetition, (r_reps, tokens.rows), as
  /// FdeEncoder::partitions.
  std::uint32_t* partitions = nullptr;
};

/// The random objects live in the memory of the device that was current at construction. A call neither
/// allocates nor waits, and any number of them may run at once.
///
/// Numerics. A token's cell is that of the canonical arithmetic. Projected coordinates are sums of the tensor
/// cores: their error is below 1.25 dim 2^-23 of the sum of the magnitudes that enter one, twice that and
/// 2^-22 more for tokens of float32, and zero for tokens of float16 while partial sums stay below 1 (a half
/// is a multiple of 2^-24). Tokens of float32 must be below 65504 in magnitude. Tokens are added to a cell in
/// an order that depends on their numbers alone. Those of float16 are added by the tensor cores too where
/// k_sim is at most 5, dim at most 128 and d_proj a multiple of 8: again exactly while sums stay below 1,
/// else with 2^-22 of each coordinate and 2^-23 of the largest partial sum for each 16 tokens; a set with a
/// token longer than 60000 / sqrt(dim) has 2^-17 of absolute error for each token more. Results do not depend
/// on what else is encoded.
class FdeEncoder {
 public:
  /// @throws as whimbrel::FdeEncoder; std::length_error if 2^k_sim > 512 or dim > 1024; CudaError
  explicit FdeEncoder(const FdeParams& params);
  ~FdeEncoder();
  FdeEncoder(FdeEncoder&&) noexcept;
  FdeEncoder& operator=(FdeEncoder&&) noexcept;

  const FdeParams& params() const noexcept;
  std::size_t dim_out() const noexcept;
  /// For so many sets at a time; with less, down to that for one set, there are more passes. 0: none needed.
  std::size_t workspace_bytes(std::size_t n_sets) const noexcept;

  /// Enqueue on `stream`. Tokens are kFloat32 or kFloat16.
  /// @returns cudaErrorInvalidValue for other types or dimensions or too small a workspace, or what a launch
  ///          returned
  cudaError_t launch_documents(const RaggedTokens& documents, const FdeDeviceOutput& out, void* workspace,
                               std::size_t workspace_bytes, cudaStream_t stream) const;
  cudaError_t launch_queries(const RaggedTokens& queries, const FdeDeviceOutput& out, void* workspace,
                             std::size_t workspace_bytes, cudaStream_t stream) const;

 private:
  class Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace whimbrel::cuda
