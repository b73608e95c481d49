// Distances between float32 vectors, compiled once per instruction set into its own namespace.
//
// Numerics. Canonical form: 32 virtual lanes, lane j sums the terms of elements j, j + 32, ... in order;
// multiply and add are rounded separately; the lanes are folded by halves 16, 8, 4, 2, 1. A partial last
// block adds zeros, so zero padding changes no bit. 32 lanes are two registers of AVX-512, four of AVX2,
// eight of SSE or NEON, and one CUDA warp. Fast form: two fused accumulators per row; a tile sums in order,
// in runs of kTileDepth; relative error of a sum of d terms below (d + 2) 2^-24 of the sum of their
// magnitudes.
#include "kernels/codes.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/lanes.hpp"

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::size_t kLaneVecs = kLanes / kWidth;
template <class T>
constexpr std::size_t kPerLine = 64 / sizeof(T);

// One term of each distance. `fused` may round once, `plain` rounds each operation.
struct L2 {
  static Vec plain(Vec acc, Vec a, Vec b) {
    const Vec t = a - b;
    return acc + t * t;
  }
  static Vec fused(Vec acc, Vec a, Vec b) {
    const Vec t = a - b;
    return fma(t, t, acc);
  }
  static float finish(float sum) { return sum; }
};

struct Ip {
  static Vec plain(Vec acc, Vec a, Vec b) { return acc + a * b; }
  static Vec fused(Vec acc, Vec a, Vec b) { return fma(a, b, acc); }
  static float finish(float sum) { return -sum; }
};

template <class Term>
float canonical(const float* a, const float* b, std::size_t d) {
  Vec lane[kLaneVecs] = {};
  std::size_t i = 0;
  for (; i + kLanes <= d; i += kLanes)
    for (std::size_t v = 0; v < kLaneVecs; ++v)
      lane[v] = Term::plain(lane[v], load(a + i + v * kWidth), load(b + i + v * kWidth));
  for (std::size_t v = 0; i < d; ++v, i += kWidth)
    lane[v] = d - i >= kWidth ? Term::plain(lane[v], load(a + i), load(b + i))
                              : Term::plain(lane[v], load_partial(a + i, d - i), load_partial(b + i, d - i));
  for (std::size_t half = kLaneVecs / 2; half > 0; half /= 2)
    for (std::size_t v = 0; v < half; ++v) lane[v] = lane[v] + lane[v + half];
  return Term::finish(fold(lane[0]));
}

/// Distances of one query to N rows at once: N independent chains hide the latency of the adds, and the query
/// is loaded once. Meanwhile the lines of `ahead` rows, which come next, are fetched at the same offsets.
template <class Term, std::size_t N, bool kPrefetch, class T>
inline void fast_rows(const float* query, const T* const* row, const T* const* ahead, std::size_t d,
                      float* out) {
  Vec even[N] = {}, odd[N] = {};
  std::size_t i = 0;
  for (; i + 2 * kWidth <= d; i += 2 * kWidth) {
    const Vec q0 = load(query + i), q1 = load(query + i + kWidth);
    for (std::size_t r = 0; r < N; ++r) {
      if constexpr (kPrefetch) {
        for (std::size_t line = 0; line < 2 * kWidth; line += kPerLine<T>)
          if (kWidth * 2 >= kPerLine<T> || i % kPerLine<T> == 0) prefetch(ahead[r] + i + line);
      }
      even[r] = Term::fused(even[r], load(row[r] + i), q0);
      odd[r] = Term::fused(odd[r], load(row[r] + i + kWidth), q1);
    }
  }
  if (i < d) {
    for (std::size_t r = 0; r < N; ++r) {
      if constexpr (kPrefetch) prefetch(ahead[r] + i);
      if (d - i >= kWidth) even[r] = Term::fused(even[r], load(row[r] + i), load(query + i));
    }
    if (d - i >= kWidth) i += kWidth;
    if (i < d)
      for (std::size_t r = 0; r < N; ++r)
        odd[r] = Term::fused(odd[r], load_partial(row[r] + i, d - i), load_partial(query + i, d - i));
  }
  for (std::size_t r = 0; r < N; ++r) out[r] = Term::finish(fold(even[r] + odd[r]));
}

template <class Term>
float fast(const float* a, const float* b, std::size_t d) {
  float out;
  // The row is the first factor in fast_ids as well: the squared difference does not care, and neither does
  // the product.
  fast_rows<Term, 1, false, float>(b, &a, nullptr, d, &out);
  return out;
}

/// Over coordinates [offset, offset + d) of the rows; `query` points at its own coordinate `offset`.
template <class Term, class T>
inline void fast_ids_from(const float* query, std::size_t offset, std::size_t d, RowBlocks<T> rows,
                          const std::uint32_t* ids, std::size_t n, float* out) {
  constexpr std::size_t kGroup = 4;
  const T* row[2 * kGroup];
  // The first group is fetched whole before anything is computed; each later one during the group before it.
  // A single group is computed at once: its caller has mostly seen these rows before.
  const std::size_t first = n < kGroup ? n : kGroup;
  for (std::size_t r = 0; r < first; ++r) row[r] = rows.row(ids[r]) + offset;
  if (n > kGroup)
    for (std::size_t r = 0; r < kGroup; ++r)
      for (std::size_t i = 0; i < d; i += kPerLine<T>) prefetch(row[r] + i);
  std::size_t i = 0;
  for (; i + kGroup < n; i += kGroup) {
    const std::size_t next = n - i - kGroup < kGroup ? n - i - kGroup : kGroup;
    for (std::size_t r = 0; r < kGroup; ++r)
      row[kGroup + r] = rows.row(ids[i + kGroup + (r < next ? r : 0)]) + offset;
    fast_rows<Term, kGroup, true, T>(query, row, row + kGroup, d, out + i);
    for (std::size_t r = 0; r < kGroup; ++r) row[r] = row[kGroup + r];
  }
  if (i + kGroup == n)
    fast_rows<Term, kGroup, false, T>(query, row, nullptr, d, out + i);
  else
    for (std::size_t r = 0; i < n; ++i, ++r)
      fast_rows<Term, 1, false, T>(query, row + r, nullptr, d, out + i);
}

template <class Term, class T>
void fast_ids(const float* query, std::size_t d, RowBlocks<T> rows, const std::uint32_t* ids, std::size_t n,
              float* out) {
  fast_ids_from<Term, T>(query, 0, d, rows, ids, n, out);
}

std::size_t l2_ids_below(const float* query, std::size_t d, std::size_t stage, RowBlocks<float> rows,
                         std::uint32_t* ids, std::size_t n, float bound, float* out) {
  constexpr std::size_t kChunk = 64;
  std::size_t found = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) {
    float sums[kChunk] = {}, terms[kChunk];
    std::size_t left = n - begin < kChunk ? n - begin : kChunk;
    std::uint32_t* chunk = ids + begin;
    for (std::size_t at = 0; at < d && left > 0;) {
      const std::size_t step = d - at < 2 * stage ? d - at : stage;  // no short last stage
      fast_ids_from<L2, float>(query + at, at, step, rows, chunk, left, terms);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < left; ++i) {
        const float sum = sums[i] + terms[i];
        sums[kept] = sum;
        chunk[kept] = chunk[i];
        kept += sum < bound;
      }
      left = kept;
      at += step;
    }
    for (std::size_t i = 0; i < left; ++i, ++found) {
      ids[found] = chunk[i];
      out[found] = sums[i];
    }
  }
  return found;
}

constexpr std::size_t kPanelAhead = 32;  // steps; 2 to 5 % of the tile rate at d = 384
static_assert(kTileRows <= kMaxTileRows && kTileCols <= kMaxTileCols && kTileVecs <= kMaxTileVecs);

template <std::size_t kVecs>
void tile(const float* rows, std::size_t stride, const float* panel, std::size_t depth, bool accumulate,
          float* out) {
  constexpr std::size_t kCols = kVecs * kWidth;
  const float* row[kTileRows];
  for (std::size_t r = 0; r < kTileRows; ++r) row[r] = rows + r * stride;
  Vec acc[kTileRows][kVecs] = {};
  for (std::size_t k = 0; k < depth; ++k) {
    Vec q[kVecs];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVecs; ++v) {
      const float* p = panel + k * kCols + v * kWidth;
      q[v] = load(p);
      prefetch(p + kPanelAhead * kCols);  // the panel streams from the second-level cache
    }
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kTileRows; ++r) {
      const Vec x = broadcast(row[r][k]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVecs; ++v) acc[r][v] = fma(x, q[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kTileRows; ++r)
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVecs; ++v) {
      float* p = out + r * kCols + v * kWidth;
      store(p, accumulate ? load(p) + acc[r][v] : acc[r][v]);
    }
}

std::uint64_t select(const float* products, std::size_t n, float bias, float scale, const float* bounds,
                     float* scores) {
  std::uint64_t mask = 0;
  for (std::size_t c = 0; c < n; c += kWidth)
    mask |= less_mask(bias - scale * load(products + c), load(bounds + c)) << c;
  if (mask != 0)
    for (std::size_t c = 0; c < n; c += kWidth) store(scores + c, bias - scale * load(products + c));
  return mask;
}

void best_rows(const float* products, std::size_t rows, std::size_t cols, float* best, float* second,
               std::uint32_t* row) {
  for (std::size_t c = 0; c < cols; c += kWidth) {
    const float* p = products + c;
    Vec b = load(p), s = broadcast(-__builtin_inff());
    Index at{};
    for (std::size_t r = 1; r < rows; ++r) {
      const Vec x = load(p + r * cols);
      const auto greater = x > b;
      const Vec lower = greater ? b : x;
      at = greater ? static_cast<std::uint32_t>(r) - Index{} : at;
      s = lower > s ? lower : s;
      b = greater ? x : b;
    }
    store(best + c, b);
    store(second + c, s);
    store(row + c, at);
  }
}

float norm_bound(const float* rows, std::size_t n, std::size_t stride, std::size_t d) {
  Vec bound{}, sum{};
  for (std::size_t r = 0; r < n; ++r) {
    const float* x = rows + r * stride;
    Vec even{}, odd{};
    std::size_t i = 0;
    for (; i + 2 * kWidth <= d; i += 2 * kWidth) {
      const Vec a = load(x + i), b = load(x + i + kWidth);
      even = fma(a, a, even);
      odd = fma(b, b, odd);
    }
    for (; i < d; i += kWidth) {
      const Vec a = d - i >= kWidth ? load(x + i) : load_partial(x + i, d - i);
      even = fma(a, a, even);
    }
    const Vec total = even + odd;
    bound = total > bound ? total : bound;
    sum = sum + total;  // a maximum may drop a NaN, a sum keeps it
  }
  const float kept = fold(sum) * 0;
  return fold(bound) + kept;
}

/// kRows rows, `apart` elements from each other, in step: independent sums hide the latency of the adds and
/// of the folds, and each row is a stream of its own for the processor's prefetching, which stops at every
/// page. kAhead bytes of each stream are fetched besides; what follows a row is the next one of its stream.
template <std::size_t kRows, class T>
inline void dot_some_rows(const float* query, std::size_t d, const T* rows, std::size_t apart, float* out,
                          std::size_t out_apart) {
  constexpr std::size_t kAhead = 1024 / sizeof(T);
  Vec lane[kRows][kLaneVecs] = {};
  std::size_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r)
      for (std::size_t line = 0; line < kLanes; line += kPerLine<T>)
        if (kLanes >= kPerLine<T> || i % kPerLine<T> == 0) prefetch(rows + r * apart + i + kAhead + line);
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kLaneVecs; ++v) {
      const Vec q = load(query + i + v * kWidth);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kRows; ++r)
        lane[r][v] = Ip::plain(lane[r][v], load(rows + r * apart + i + v * kWidth), q);
    }
  }
  for (std::size_t v = 0; i < d; ++v, i += kWidth)
    for (std::size_t r = 0; r < kRows; ++r) {
      const T* x = rows + r * apart + i;
      lane[r][v] = d - i >= kWidth
                       ? Ip::plain(lane[r][v], load(x), load(query + i))
                       : Ip::plain(lane[r][v], load_partial(x, d - i), load_partial(query + i, d - i));
    }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t half = kLaneVecs / 2; half > 0; half /= 2)
      for (std::size_t v = 0; v < half; ++v) lane[r][v] = lane[r][v] + lane[r][v + half];
    out[r * out_apart] = fold(lane[r][0]);
  }
}

template <class T>
void dot_rows(const float* query, std::size_t d, const T* rows, std::size_t stride, std::size_t n,
              float* out) {
  // Accumulators must fit the registers: 8 of 32 with AVX-512, 8 of 16 with AVX2; with SSE one row has 8.
  constexpr std::size_t kRows = kLaneVecs <= 2 ? 4 : kLaneVecs <= 4 ? 2 : 1;
  const std::size_t run = n / kRows;
  for (std::size_t i = 0; i < run; ++i)
    dot_some_rows<kRows>(query, d, rows + i * stride, run * stride, out + i, run);
  for (std::size_t i = run * kRows; i < n; ++i)
    dot_some_rows<1>(query, d, rows + i * stride, stride, out + i, 1);
}

void widen_f16(const std::uint16_t* codes, std::size_t n, float* out) {
  std::size_t i = 0;
#if defined(__AVX512F__)
  for (; i + kWidth <= n; i += kWidth)
    store(out + i,
          _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i))));
#endif
  for (; i < n; ++i) {
    const std::uint32_t code = codes[i];
    // Exponent and mantissa moved in place and scaled by the difference of the biases: exact for every finite
    // value, subnormal ones too.
    const float magnitude = __builtin_bit_cast(float, (code & 0x7fff) << 13) * 0x1p112f;
    out[i] = __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, magnitude) | (code & 0x8000) << 16);
  }
}

void widen_i8(const std::int8_t* codes, float scale, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(codes[i]) * scale;
}

#ifdef __AMX_BF16__
// Intel AMX: eight registers of 16 rows of 64 bytes. Four of them are the accumulators of 32 x 32 products,
// two hold rows, two columns, so that each load serves two multiplications.
constexpr std::size_t kUnitSide = 32, kUnitDepth = 32, kRegister = 16;

float round_to_unit(const float* values, std::size_t d, Bf16* out) {
  Vec lost{};
  std::size_t i = 0;
  for (; i < d; i += kWidth) {
    const Vec x = d - i >= kWidth ? load(values + i) : load_partial(values + i, d - i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), (__m256i)_mm512_cvtneps_pbh(x));
    const Vec rest = x - load(out + i);
    lost = fma(rest, rest, lost);
  }
  if (i % kUnitDepth != 0) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), __m256i{});
  return fold(lost);
}

/// Static, since compilers take the instruction for one that reads the first 8 bytes alone, and drop stores
/// to the others.
struct UnitConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(UnitConfig) == 64);
const UnitConfig kUnitConfig;

void claim_unit() { _tile_loadconfig(&kUnitConfig); }

void release_unit() { _tile_release(); }

void unit_tile(const Bf16* rows, std::size_t stride, const Bf16* panel, std::size_t depth, float* out) {
  constexpr std::size_t kBlock = kUnitDepth * kRegister;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t k = 0; k < depth; k += kUnitDepth, panel += 2 * kBlock) {
    _tile_loadd(4, rows + k, stride * sizeof(Bf16));
    _tile_loadd(6, panel, 64);
    _tile_loadd(7, panel + kBlock, 64);
    _tile_loadd(5, rows + kRegister * stride + k, stride * sizeof(Bf16));
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  constexpr std::size_t kStride = kUnitSide * sizeof(float);
  _tile_stored(0, out, kStride);
  _tile_stored(1, out + kRegister, kStride);
  _tile_stored(2, out + kRegister * kUnitSide, kStride);
  _tile_stored(3, out + kRegister * kUnitSide + kRegister, kStride);
}

constexpr MatrixUnit kMatrixUnit = {kUnitSide,  kUnitSide,    kUnitDepth, round_to_unit,
                                    claim_unit, release_unit, unit_tile};
#else
constexpr MatrixUnit kMatrixUnit = {};
#endif

#define WHIMBREL_STRING_OF(x) #x
#define WHIMBREL_STRING(x) WHIMBREL_STRING_OF(x)

}  // namespace

extern const EncodingKernels kEncoding;  // encoding_kernels.cpp
extern const KernelTable kTable;
const KernelTable kTable = {
    WHIMBREL_STRING(WHIMBREL_KERNEL_ISA),
    {canonical<L2>, fast<L2>, fast_ids<L2, float>, fast_ids<L2, Half>, code_ids<8, true>, code_pairs<8, 2>,
     code_ids<4, true>, code_pairs<4, 2>},
    {canonical<Ip>, fast<Ip>, fast_ids<Ip, float>, fast_ids<Ip, Half>, code_ids<8, false>, code_pairs<8, 1>,
     code_ids<4, false>, code_pairs<4, 1>},
    l2_ids_below,
    project,
    kTileRows,
    kTileCols,
    tile<kTileVecs>,
    select,
    kWidth,
    {tile<1>, tile<2>, tile<kTileVecs>},
    best_rows,
    norm_bound,
    widen_f16,
    widen_i8,
    kMatrixUnit,
    &kEncoding,
    dot_rows<float>,
    dot_rows<Half>,
    dot_rows<std::int8_t>,
};

}  // namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA
