// The kernels of one instruction set, as a table of function pointers. Plain C types only: this header is
// included by files compiled for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

namespace whimbrel::kernels {

/// The upper half of a float32 (bfloat16): the same range, 8 significant bits. Half the bytes to fetch.
using Bf16 = std::uint16_t;

/// An IEEE 754 half (float16). Its own type: bfloat16 has the same size and another meaning.
struct Half {
  std::uint16_t bits;
};

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
/// Rows of codes are whole lines of this many bytes.
inline constexpr std::size_t kCodeLine = 64;
/// Sums of products of a code and a query's value stay exact in 32 bits up to here.
inline constexpr std::size_t kMaxCodeBytes = 65536;

/// A query in the form that codes are compared with. Codes of 4 bits, two to a byte, have two lines of values
/// for each line of a row, for the low bits of its bytes and for the high ones.
struct CodeQuery {
  const std::int8_t* values;  // aligned to a line; -127..127, zeros where there is no code
  std::size_t bytes;          // of a row, whole lines, at most kMaxCodeBytes
  float scale;
};
/// out[i] = tail + scale * (sum of code times value) for row ids[i]; the tail is the float in the last bytes
/// of the row, and 0 in the form for inner products. The same bits on every instruction set.
using CodeIdsKernel = void (*)(const CodeQuery& query, RowBlocks<std::uint8_t> rows, const std::uint32_t* ids,
                               std::size_t n, float* out);
/// What two rows of codes add to a distance between them beside their product: one as the row that is
/// measured, the other as the one it is measured from. Wraps around like unsigned numbers do; the sum of all
/// does not.
struct CodeTerms {
  std::uint32_t row, point;
};
/// A row of codes in the form that others are compared with: its bytes less 128, or its 4 bits less 8.
struct CodePoint {
  const std::int8_t* values;  // as those of a query
  std::size_t bytes;          // of a row, whole lines, at most kMaxPairBytes
  std::uint32_t term;
};
/// Distances between codes, whole numbers below 2^31 in magnitude, stay exact in 32 bits up to here.
inline constexpr std::size_t kMaxPairBytes = 32768;
/// out[i] = terms[ids[i]].row + point.term - factor * (sum of code times value) for row ids[i], a whole
/// number that is rounded to a float: the same bits on every instruction set. The factor is 2 for l2, 1 for
/// inner products.
using CodePairsKernel = void (*)(const CodePoint& point, RowBlocks<std::uint8_t> rows, const CodeTerms* terms,
                                 const std::uint32_t* ids, std::size_t n, float* out);
/// out[c] += sum_j x[j] * columns[j * n_columns + c], in the order of j. n_columns is a multiple of 16.
using ProjectKernel = void (*)(const float* x, std::size_t d, const float* columns, std::size_t n_columns,
                               float* out);
/// Inner products of tile_rows rows with tile_cols queries over `depth` coordinates:
///   out[r * tile_cols + c] (+)= sum_k rows[r * stride + k] * panel[k * tile_cols + c]
/// Every product is summed in the same order wherever it stands in the tile. Callers go through long vectors
/// in runs of kTileDepth, which keeps the rows in the first-level cache and the rounding errors small.
using TileKernel = void (*)(const float* rows, std::size_t stride, const float* panel, std::size_t depth,
                            bool accumulate, float* out);
/// The comparisons of selection: scores[c] = bias - scale * products[c] for c < n, and bit c of the result is
/// set where that is below bounds[c]; if no bit is set, scores are unspecified. n: tile_cols or the columns
/// of the matrix unit.
using SelectKernel = std::uint64_t (*)(const float* products, std::size_t n, float bias, float scale,
                                       const float* bounds, float* scores);

/// A unit for products of bfloat16 matrices with float sums: many times the rate of the float tile, and
/// 8 significant bits. `rows` is 0 where there is none.
struct MatrixUnit {
  std::size_t rows, cols, depth;  // of one step: (rows, depth) times (depth, cols)
  /// out = the nearest bfloat16 of each of d values, zeros behind them up to a multiple of `depth`. Values
  /// below the normal range become zero, values that do not fit infinite. The squared norm of what was lost.
  float (*round)(const float* values, std::size_t d, Bf16* out);
  /// Around all calls of `tile` of a thread; the unit's state is expensive to carry along.
  void (*claim)();
  void (*release)();
  /// out[r * cols + c] = inner product of row r and column c over `depth` values, a multiple of the unit's.
  /// The panel holds column c's value k at matrix_unit_offset(unit, c, k). Each product is exact in float or
  /// fused with the addition; sums of pairs are flushed to zero below the normal range.
  void (*tile)(const Bf16* rows, std::size_t stride, const Bf16* panel, std::size_t depth, float* out);
};

/// The order in which a matrix unit wants a panel: blocks of (depth, 16 columns), in them pairs of values of
/// one column side by side.
constexpr std::size_t matrix_unit_offset(const MatrixUnit& unit, std::size_t column, std::size_t k) {
  const std::size_t block = k / unit.depth * (unit.cols / 16) + column / 16;
  return block * unit.depth * 16 + k % unit.depth / 2 * 32 + column % 16 * 2 + k % 2;
}

/// For each column of rows x cols products (cols a multiple of the width), rows > 0: the largest product, the
/// first row that has it, and the largest of the others (-inf if there are none). Products are not NaN.
using BestRowsKernel = void (*)(const float* products, std::size_t rows, std::size_t cols, float* best,
                                float* second, std::uint32_t* row);
/// An upper bound of the squared norms of n rows, up to rounding, and rarely more than twice the largest; NaN
/// if a value is not finite or a square overflows.
using NormBoundKernel = float (*)(const float* rows, std::size_t n, std::size_t stride, std::size_t d);
/// out[i] = inner product of the query with row i of n rows that stand one after another, `stride` elements
/// apart, in canonical form: the bits that ip.canonical gives, negated, for the row widened to float. For
/// passes over all rows, which run at the speed of memory.
template <class T>
using DotRowsKernel = void (*)(const float* query, std::size_t d, const T* rows, std::size_t stride,
                               std::size_t n, float* out);
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
  IdsKernel<Half> fast_ids_f16;
  CodeIdsKernel code_ids;
  CodePairsKernel code_pairs;
  CodeIdsKernel nibble_ids;  // the same for codes of 4 bits
  CodePairsKernel nibble_pairs;
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

struct KernelTable {
  const char* isa;
  MetricKernels l2;  // sum (a - b)^2
  MetricKernels ip;  // -sum a b
  BelowKernel l2_ids_below;
  ProjectKernel project;
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
  MatrixUnit matrix;
  const EncodingKernels* encoding;
  DotRowsKernel<float> dot_rows;
  DotRowsKernel<Half> dot_rows_f16;
  DotRowsKernel<std::int8_t> dot_rows_i8;
};

/// The largest tile of any ISA or matrix unit, for buffers on the stack.
inline constexpr std::size_t kMaxTileRows = 32;
inline constexpr std::size_t kMaxTileCols = 64;
/// It enters the error bound of exact search.
inline constexpr std::size_t kTileDepth = 256;

}  // namespace whimbrel::kernels
