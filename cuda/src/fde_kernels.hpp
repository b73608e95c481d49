// What the host side of the encoder calls of the device side.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "whimbrel/cuda/ragged_tokens.hpp"

namespace whimbrel::cuda {

struct FdeJob;

/// Entries of a matrix as the first operand of products: operand_index of token_layout.hpp. Rows are padded
/// to whole tiles with zeros. @returns halves, eight for each index
std::vector<std::uint16_t> make_operand(std::span<const float> rows, std::size_t n_rows, std::size_t dim,
                                        std::size_t n_steps);

/// Fill in what depends on the tokens and the device, and launch. job.tokens to job.chunk are set here.
cudaError_t launch_encode(FdeJob job, const RaggedTokens& sets, cudaStream_t stream);

/// The sketch of whole encodings as lists: sum b is over entries ends[b - 1] to ends[b] - 1 of `entries`,
/// each 2 * coordinate + (1 where it is subtracted).
struct FinalSketch {
  const std::uint32_t* entries = nullptr;
  const std::uint32_t* ends = nullptr;
  std::size_t length = 0, dim_out = 0;
};
cudaError_t launch_final_sketch(const FinalSketch& sketch, const float* rows, std::size_t n_rows, float* f32,
                                std::uint16_t* f16, cudaStream_t stream);

}  // namespace whimbrel::cuda
