// The kernels of one instruction set, as a table of function pointers. Plain C types only: this header is
// included by files compiled for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

namespace whimbrel::kernels {

/// The upper half of a float32 (bfloat16): the same range, 8 significant bits. Half the bytes to fetch.
using Bf16 = std::uint16_t;

/// Rows kept in equally sized blocks: row i starts at blocks[i >> shift] + (i & mask) * stride.
template <class T>
struct RowBlocks {
  const T* const* blocks;
  std::uint32_t shift;
  std::uint32_t mask;
  std::size_t stride;  // in elements

  const T* row(std::uint32_t i) const {
    return blocks[i >> shift] + static_cast<std::size_t>(i & mask) * stride;
  }
};

/// Distances of one form between two vectors of d floats. Smaller is nearer.
using PairKernel = float (*)(const float* a, const float* b, std::size_t d);
/// out[i] = distance of the query to row ids[i]; rows are prefetched ahead. Each value has the same bits as
/// the PairKernel of the same form gives for the row widened to float, wherever in the list it stands.
template <class T>
using IdsKernel = void (*)(const float* query, std::size_t d, RowBlocks<T> rows, const std::uint32_t* ids,
                           std::size_t n, float* out);
/// The l2 distances below `bound`: ids and out are compacted to them, their number is returned. Each row is
/// read in stages of that many coordinates and given up once its sum reaches the bound, which is exact, since
/// terms of l2 only add. Sums by stages round differently from the other forms.
using BelowKernel = std::size_t (*)(const float* query, std::size_t d, std::size_t stage,
                                    RowBlocks<float> rows, std::uint32_t* ids, std::size_t n, float bound,
                                    float* out);
/// Inner products of tile_rows rows with tile_cols queries over `depth` coordinates:
///   out[r * tile_cols + c] (+)= sum_k rows[r * stride + k] * panel[k * tile_cols + c]
/// Every product is summed in the same order wherever it stands in the tile. Callers go through long vectors
/// in runs of kTileDepth, which keeps the rows in the first-level cache and the rounding errors small.
using TileKernel = void (*)(const float* rows, std::size_t stride, const float* panel, std::size_t depth,
                            bool accumulate, float* out);
/// The comparisons of selection: scores[c] = bias - scale * products[c], and bit c of the result is set where
/// that is below bounds[c]. tile_cols <= 64.
using SelectKernel = std::uint64_t (*)(const float* products, float bias, float scale, const float* bounds,
                                       float* scores);

/// For each column of rows x cols products (cols a multiple of the width), rows > 0: the largest product, the
/// first row that has it, and the largest of the others (-inf if there are none). Products are not NaN.
using BestRowsKernel = void (*)(const float* products, std::size_t rows, std::size_t cols, float* best,
                                float* second, std::uint32_t* row);
/// An upper bound of the squared norms of n rows, up to rounding, and rarely more than twice the largest; NaN
/// if a value is not finite or a square overflows.
using NormBoundKernel = float (*)(const float* rows, std::size_t n, std::size_t stride, std::size_t d);
/// Finite float16 and scaled int8 to float: the same bits on every ISA.
using WidenF16Kernel = void (*)(const std::uint16_t* codes, std::size_t n, float* out);
using WidenI8Kernel = void (*)(const std::int8_t* codes, float scale, std::size_t n, float* out);

/// The most registers that a tile is wide.
inline constexpr std::size_t kMaxTileVecs = 3;

/// Two forms of the same distance (DESIGN.md, "Two kinds of arithmetic").
struct MetricKernels {
  PairKernel canonical;  // 32 virtual lanes, multiply and add rounded separately: the same bits on every ISA
  PairKernel fast;       // fused, any order: proposes, is never returned to the caller
  IdsKernel<float> fast_ids;
  IdsKernel<Bf16> fast_ids_bf16;
};

struct KernelTable {
  const char* isa;
  MetricKernels l2;  // sum (a - b)^2
  MetricKernels ip;  // -sum a b
  BelowKernel l2_ids_below;
  std::size_t tile_rows;
  std::size_t tile_cols;
  TileKernel tile;
  SelectKernel select;
  std::size_t width;               // floats in a register
  TileKernel tiles[kMaxTileVecs];  // tiles[v - 1] has v * width columns, as long as that is up to tile_cols
  BestRowsKernel best_rows;
  NormBoundKernel norm_bound;
  WidenF16Kernel widen_f16;
  WidenI8Kernel widen_i8;
};

/// out[c * out_stride + r] = in[r * in_stride + c]
using TransposeKernel = void (*)(const float* in, std::size_t in_stride, std::size_t rows, std::size_t cols,
                                 float* out, std::size_t out_stride);
/// The signs of n_bits <= 32 rows of products as one number per column, the first row highest: a bit is set
/// where the product is above zero. Bit c of the result is set where a product of column c is not above
/// bounds[c] in magnitude, so that its rounding may have changed its sign.
using SignBitsKernel = std::uint64_t (*)(const float* products, std::size_t n_bits, const float* bounds,
                                         std::uint32_t* bits);
/// Count sketch of the columns of a panel: row b of `out` is the sum of the panel's rows order[i] up to
/// ends[2 b], less those from there up to ends[2 b + 1].
using SketchKernel = void (*)(const float* panel, const std::uint32_t* order, const std::uint32_t* ends,
                              std::size_t n_buckets, float* out);
/// sums[cells[t] * width + j] += rows[t * stride + j], t ascending.
using AddByCellKernel = void (*)(const float* rows, std::size_t stride, std::size_t n, std::size_t width,
                                 const std::uint32_t* cells, float* sums);

/// Columns are those of a tile: panels and products have tile_cols of them.
struct EncodingKernels {
  TransposeKernel transpose;
  SignBitsKernel sign_bits;
  SketchKernel sketch;
  AddByCellKernel add_by_cell;
};

/// The largest tile of any ISA, for buffers on the stack.
inline constexpr std::size_t kMaxTileRows = 16;
inline constexpr std::size_t kMaxTileCols = 64;
/// It enters the error bound of exact search.
inline constexpr std::size_t kTileDepth = 256;

}  // namespace whimbrel::kernels
