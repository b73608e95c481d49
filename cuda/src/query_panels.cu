#include "query_panels.cuh"

#include <cuda_fp16.h>

#include <cstdint>

#include "maxsim_bound.hpp"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kLanesPerRow = kThreads / kQueryRows;
constexpr int kExponent = 15;  // scaled coordinates are below 2^15 and fit a half

struct Source {
  const void* data;
  bool half;
  std::size_t rows, stride;
  const std::int64_t* offsets;

  /// Row of a slot, or `rows` for none.
  __device__ std::size_t row(std::size_t slot, std::size_t per_query) const {
    if (per_query == 0) return slot < rows ? slot : rows;
    const std::int64_t row = offsets[slot / per_query] + static_cast<std::int64_t>(slot % per_query);
    return row < offsets[slot / per_query + 1] ? static_cast<std::size_t>(row) : rows;
  }
  __device__ float value(std::size_t row, std::size_t i) const {
    if (row >= rows) return 0;
    const std::size_t at = row * stride + i;
    return half ? __half2float(static_cast<const __half*>(data)[at]) : static_cast<const float*>(data)[at];
  }
};

/// One block for each tile of 16 slots.
__global__ void __launch_bounds__(kThreads)
    write_panels(Source source, QueryPanels panels, std::size_t n_products, bool split_docs) {
  __shared__ int exponents[kQueryRows];
  const std::size_t tile = blockIdx.x, dim = panels.dim;
  {
    const unsigned lane = threadIdx.x % kLanesPerRow;
    const std::size_t slot = tile * kQueryRows + threadIdx.x / kLanesPerRow;
    const std::size_t row = source.row(slot, panels.slots_per_query);
    float largest = 0;
    double squares = 0;
    const std::size_t depth = panels.n_steps * kStepDepth;
    for (std::size_t i = lane; i < depth; i += kLanesPerRow) {
      const float x = i < dim ? source.value(row, i) : 0.0f;
      panels.rows[slot * depth + i] = x;
      largest = fmaxf(largest, fabsf(x));
      squares += static_cast<double>(x) * x;
    }
    for (unsigned half = kLanesPerRow / 2; half > 0; half /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, half));
      squares += __shfl_xor_sync(0xffffffffu, squares, half);
    }
    if (lane == 0) {
      const int exponent = largest > 0 ? kExponent - 1 - ilogbf(largest) : 0;
      exponents[threadIdx.x / kLanesPerRow] = exponent;
      const double norm = sqrt(squares), scale = ldexp(1.0, exponent);
      const ProductBound bound =
          product_bound(dim, n_products, split_docs, norm * scale, scale, sqrt(static_cast<double>(dim)));
      panels.facts[slot] =
          make_float4(static_cast<float>(2.0002 * bound.slack), static_cast<float>(2.0002 * bound.floor),
                      static_cast<float>(1.0001 * norm), 0);
    }
  }
  __syncthreads();
  for (std::size_t i = threadIdx.x; i < panels.n_steps * 2 * 32; i += kThreads) {
    const unsigned lane = i % 32, half = i / 32 % 2;
    const auto step = static_cast<unsigned>(i / 64);
    std::uint32_t high[4], low[4];
    for (unsigned word = 0; word < 4; ++word) {
      const unsigned in_tile = lane / 4 + word % 2 * 8;
      const std::size_t row = source.row(tile * kQueryRows + in_tile, panels.slots_per_query);
      __half h[2], l[2];
      for (unsigned v = 0; v < 2; ++v) {
        const std::size_t at = step_coordinate(step, half, lane % 4, word / 2 * 2 + v);
        const float x = at < dim ? source.value(row, at) : 0.0f;
        split(ldexpf(x, exponents[in_tile]), h[v], l[v]);
      }
      high[word] = pack(h[0], h[1]);
      low[word] = pack(l[0], l[1]);
    }
    const std::size_t at = operand_index(tile, panels.n_steps, step, half, lane);
    panels.operand[at] = make_uint4(high[0], high[1], high[2], high[3]);
    if (panels.operand_low != nullptr) panels.operand_low[at] = make_uint4(low[0], low[1], low[2], low[3]);
  }
}

}  // namespace

std::size_t QueryPanels::place(void* memory, bool split) {
  std::size_t bytes = 0;
  const auto take = [&](std::size_t n) {
    void* at = static_cast<char*>(memory) + bytes;
    bytes += round_up(n, 256);
    return at;
  };
  const std::size_t operands = n_slots * n_steps * kStepDepth * sizeof(__half);
  operand = static_cast<uint4*>(take(operands));
  operand_low = split ? static_cast<uint4*>(take(operands)) : nullptr;
  rows = static_cast<float*>(take(n_slots * n_steps * kStepDepth * sizeof(float)));
  facts = static_cast<float4*>(take(n_slots * sizeof(float4)));
  return bytes;
}

cudaError_t prepare_queries(const RaggedTokens& queries, const QueryPanels& panels, std::size_t n_products,
                            bool split_docs, cudaStream_t stream) {
  if (panels.n_slots == 0) return cudaSuccess;
  const Source source = {queries.data, queries.type == TokenType::kFloat16, queries.rows, queries.stride,
                         queries.offsets};
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(panels.n_slots / kQueryRows);
  config.blockDim = kThreads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, write_panels, source, panels, n_products, split_docs);
}

}  // namespace whimbrel::cuda
