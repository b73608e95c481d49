// Products of codes of 8 or 4 bits with a quantized query or with each other, and projections whose sums have
// one order: what construction and search on codes are made of. Included by distance_kernels.cpp alone.
//
// Numerics. A code is 0..255 or 0..15, a value of the query -127..127, their products are summed in 32 bits,
// exact for up to kMaxCodeBytes bytes, so that sums have the same bits on every instruction set whatever
// their order. Products of 4-bit codes are below 2^11, and up to eight of them are added in 16 bits before. A
// projection sums in the order of the input's coordinates, multiply and add rounded separately: the same
// bits, however wide a register is.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/lanes.hpp"

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

/// 32-bit sums side by side, one register of them.
#if defined(__AVX512F__)
typedef __m512i CodeSums;
#elif defined(__AVX2__)
typedef __m256i CodeSums;
#elif defined(__SSE2__)
typedef __m128i CodeSums;
#elif defined(__ARM_NEON)
typedef int32x4_t CodeSums;
#else
typedef std::int32_t CodeSums;
#endif

/// A number that a template can be given by a call.
template <std::size_t kValue>
struct Constant {
  static constexpr std::size_t value = kValue;
};

inline CodeSums zero_sums() {
#if defined(__AVX512F__)
  return _mm512_setzero_si512();
#elif defined(__AVX2__)
  return _mm256_setzero_si256();
#elif defined(__SSE2__)
  return _mm_setzero_si128();
#elif defined(__ARM_NEON)
  return vdupq_n_s32(0);
#else
  return 0;
#endif
}

/// sums[r] += the products of line `at` (kCodeLine bytes, aligned) of N rows of codes with the query's.
template <std::size_t N>
inline void add_line(CodeSums* sums, const std::uint8_t* const* row, const std::int8_t* query,
                     std::size_t at) {
#if defined(__AVX512F__)
  const __m512i q = _mm512_load_si512(query + at);
  for (std::size_t r = 0; r < N; ++r)
    sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_load_si512(row[r] + at), q);
#elif defined(__AVX2__)
  // Even and odd bytes as 16 bits: the 8-bit multiply-add saturates.
  const __m256i low = _mm256_set1_epi16(0xff);
  for (std::size_t i = at; i < at + kCodeLine; i += 32) {
    const __m256i q = _mm256_load_si256(reinterpret_cast<const __m256i*>(query + i));
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8), odd = _mm256_srai_epi16(q, 8);
    for (std::size_t r = 0; r < N; ++r) {
      const __m256i c = _mm256_load_si256(reinterpret_cast<const __m256i*>(row[r] + i));
      const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(_mm256_and_si256(c, low), even),
                                                _mm256_madd_epi16(_mm256_srli_epi16(c, 8), odd));
      sums[r] = _mm256_add_epi32(sums[r], products);
    }
  }
#elif defined(__SSE2__)
  const __m128i low = _mm_set1_epi16(0xff);
  for (std::size_t i = at; i < at + kCodeLine; i += 16) {
    const __m128i q = _mm_load_si128(reinterpret_cast<const __m128i*>(query + i));
    const __m128i even = _mm_srai_epi16(_mm_slli_epi16(q, 8), 8), odd = _mm_srai_epi16(q, 8);
    for (std::size_t r = 0; r < N; ++r) {
      const __m128i c = _mm_load_si128(reinterpret_cast<const __m128i*>(row[r] + i));
      const __m128i products = _mm_add_epi32(_mm_madd_epi16(_mm_and_si128(c, low), even),
                                             _mm_madd_epi16(_mm_srli_epi16(c, 8), odd));
      sums[r] = _mm_add_epi32(sums[r], products);
    }
  }
#elif defined(__ARM_NEON)
  for (std::size_t i = at; i < at + kCodeLine; i += 8) {
    const int16x8_t q = vmovl_s8(vld1_s8(query + i));
    for (std::size_t r = 0; r < N; ++r) {
      const int16x8_t c = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row[r] + i)));
      sums[r] = vmlal_s16(sums[r], vget_low_s16(c), vget_low_s16(q));
      sums[r] = vmlal_s16(sums[r], vget_high_s16(c), vget_high_s16(q));
    }
  }
#else
  for (std::size_t i = at; i < at + kCodeLine; ++i)
    for (std::size_t r = 0; r < N; ++r) sums[r] += row[r][i] * query[i];
#endif
}

/// The same for a line of 4-bit codes, whose values are at query + 2 * at: first those of the low bits.
template <std::size_t N>
inline void add_nibble_line(CodeSums* sums, const std::uint8_t* const* row, const std::int8_t* query,
                            std::size_t at) {
  const std::int8_t *low = query + 2 * at, *high = low + kCodeLine;
#if defined(__AVX512F__)
  const __m512i q0 = _mm512_load_si512(low), q1 = _mm512_load_si512(high), mask = _mm512_set1_epi8(15);
  for (std::size_t r = 0; r < N; ++r) {
    const __m512i c = _mm512_load_si512(row[r] + at);
    sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_and_si512(c, mask), q0);
    sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_and_si512(_mm512_srli_epi16(c, 4), mask), q1);
  }
#elif defined(__AVX2__)
  const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256i pairs[N];
  for (std::size_t i = 0; i < kCodeLine; i += 32) {
    const __m256i q0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(low + i)),
                  q1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(high + i));
    for (std::size_t r = 0; r < N; ++r) {
      const __m256i c = _mm256_load_si256(reinterpret_cast<const __m256i*>(row[r] + at + i));
      const __m256i products =
          _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(c, mask), q0),
                           _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(c, 4), mask), q1));
      pairs[r] = i == 0 ? products : _mm256_add_epi16(pairs[r], products);
    }
  }
  for (std::size_t r = 0; r < N; ++r) sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs[r], ones));
#elif defined(__SSE2__)
  // Even and odd bytes as 16 bits; there is no multiplication of bytes.
  const __m128i mask = _mm_set1_epi16(15);
  for (std::size_t i = 0; i < kCodeLine; i += 16) {
    const __m128i q0 = _mm_load_si128(reinterpret_cast<const __m128i*>(low + i)),
                  q1 = _mm_load_si128(reinterpret_cast<const __m128i*>(high + i));
    const __m128i even0 = _mm_srai_epi16(_mm_slli_epi16(q0, 8), 8), odd0 = _mm_srai_epi16(q0, 8);
    const __m128i even1 = _mm_srai_epi16(_mm_slli_epi16(q1, 8), 8), odd1 = _mm_srai_epi16(q1, 8);
    for (std::size_t r = 0; r < N; ++r) {
      const __m128i c = _mm_load_si128(reinterpret_cast<const __m128i*>(row[r] + at + i));
      const __m128i lows = _mm_add_epi32(_mm_madd_epi16(_mm_and_si128(c, mask), even0),
                                         _mm_madd_epi16(_mm_and_si128(_mm_srli_epi16(c, 8), mask), odd0));
      const __m128i highs = _mm_add_epi32(_mm_madd_epi16(_mm_and_si128(_mm_srli_epi16(c, 4), mask), even1),
                                          _mm_madd_epi16(_mm_srli_epi16(c, 12), odd1));
      sums[r] = _mm_add_epi32(sums[r], _mm_add_epi32(lows, highs));
    }
  }
#elif defined(__ARM_NEON)
  const uint8x16_t mask = vdupq_n_u8(15);
  for (std::size_t i = 0; i < kCodeLine; i += 16) {
    const int8x16_t q0 = vld1q_s8(low + i), q1 = vld1q_s8(high + i);
    for (std::size_t r = 0; r < N; ++r) {
      const uint8x16_t c = vld1q_u8(row[r] + at + i);
      const int8x16_t c0 = vreinterpretq_s8_u8(vandq_u8(c, mask)), c1 = vreinterpretq_s8_u8(vshrq_n_u8(c, 4));
      int16x8_t products = vmull_s8(vget_low_s8(c0), vget_low_s8(q0));
      products = vmlal_s8(products, vget_high_s8(c0), vget_high_s8(q0));
      products = vmlal_s8(products, vget_low_s8(c1), vget_low_s8(q1));
      products = vmlal_s8(products, vget_high_s8(c1), vget_high_s8(q1));
      sums[r] = vpadalq_s16(sums[r], products);
    }
  }
#else
  for (std::size_t i = 0; i < kCodeLine; ++i)
    for (std::size_t r = 0; r < N; ++r)
      sums[r] += (row[r][at + i] & 15) * low[i] + (row[r][at + i] >> 4) * high[i];
#endif
}

typedef std::int32_t Int4 __attribute__((vector_size(16)));

/// Four lanes with the same total.
inline Int4 fold_to_four(CodeSums sums) {
#if defined(__AVX512F__)
  typedef std::int32_t Int16 __attribute__((vector_size(64)));
  const auto all = reinterpret_cast<Int16>(sums);
  const auto h = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  typedef std::int32_t Int8 __attribute__((vector_size(32)));
  const auto h = reinterpret_cast<Int8>(sums);
#endif
#if defined(__AVX2__)
  return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#elif defined(__SSE2__) || defined(__ARM_NEON)
  return reinterpret_cast<Int4>(sums);
#else
  return Int4{sums, 0, 0, 0};
#endif
}

/// The totals of four sums: transposed, then added.
inline Int4 totals(const CodeSums* sums) {
  const Int4 a = fold_to_four(sums[0]), b = fold_to_four(sums[1]), c = fold_to_four(sums[2]),
             d = fold_to_four(sums[3]);
  const Int4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Int4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/// The rows that one step takes side by side.
constexpr std::size_t kCodeGroup = 4;

/// dots[r] = sum of the products of row r with the query, for kCodeGroup rows. kLines: how many lines they
/// have, so that the loop is unrolled; 0: `bytes` tells.
template <std::size_t kBits, std::size_t kLines>
inline Int4 code_products(const std::uint8_t* const* row, const std::int8_t* query, std::size_t bytes) {
  CodeSums sums[kCodeGroup];
  for (std::size_t r = 0; r < kCodeGroup; ++r) sums[r] = zero_sums();
  const auto add = [&](std::size_t at) {
    if constexpr (kBits == 4)
      add_nibble_line<kCodeGroup>(sums, row, query, at);
    else
      add_line<kCodeGroup>(sums, row, query, at);
  };
  if constexpr (kLines > 0) {
#pragma GCC unroll 16
    for (std::size_t line = 0; line < kLines; ++line) add(line * kCodeLine);
  } else {
    for (std::size_t at = 0; at < bytes; at += kCodeLine) add(at);
  }
  return totals(sums);
}

/// kLines lines at least; what is behind them follows in a loop.
template <std::size_t kLines>
inline void prefetch_row(const std::uint8_t* row, std::size_t stride) {
#pragma GCC unroll 16
  for (std::size_t line = 0; line < kLines; ++line) prefetch(row + line * kCodeLine);
  for (std::size_t at = kLines * kCodeLine; at < stride; at += kCodeLine) prefetch(row + at);
}

/// finish(i, rows, dots) for n rows, kCodeGroup at a time from number i on, fetched ahead. Those beyond the
/// last repeat it, and are to be ignored.
template <std::size_t kBits, std::size_t kLines, class Finish>
inline void for_products(const std::int8_t* query, std::size_t bytes, RowBlocks<std::uint8_t> rows,
                         const std::uint32_t* ids, std::size_t n, Finish finish) {
  // How many rows are on their way at a time.
  constexpr std::size_t kAhead = 2 * kCodeGroup;
  for (std::size_t i = 0; i < (n < kAhead ? n : kAhead); ++i)
    prefetch_row<kLines>(rows.row(ids[i]), rows.stride);
  for (std::size_t i = 0; i < n; i += kCodeGroup) {
    const std::uint8_t* row[kCodeGroup];
    for (std::size_t r = 0; r < kCodeGroup; ++r) {
      row[r] = rows.row(ids[i + r < n ? i + r : n - 1]);
      if (i + kAhead + r < n) prefetch_row<kLines>(rows.row(ids[i + kAhead + r]), rows.stride);
    }
    finish(i, row, code_products<kBits, kLines>(row, query, bytes));
  }
}

/// fn(number of lines as a constant, or 0).
template <class Fn>
inline void with_lines(std::size_t bytes, Fn fn) {
  switch (bytes / kCodeLine) {
    case 1:
      return fn(Constant<1>{});
    case 2:
      return fn(Constant<2>{});
    case 3:
      return fn(Constant<3>{});
    case 4:
      return fn(Constant<4>{});
    case 6:
      return fn(Constant<6>{});
    case 8:
      return fn(Constant<8>{});
    case 12:
      return fn(Constant<12>{});
    default:
      return fn(Constant<0>{});
  }
}

/// The float at the end of a row of codes.
inline float tail(const std::uint8_t* row, std::size_t stride) {
  float out;
  __builtin_memcpy(&out, row + stride - sizeof out, sizeof out);
  return out;
}

template <std::size_t kBits, bool kTail>
void code_ids(const CodeQuery& query, RowBlocks<std::uint8_t> rows, const std::uint32_t* ids, std::size_t n,
              float* out) {
  with_lines(query.bytes, [&](auto lines) {
    for_products<kBits, lines.value>(query.values, query.bytes, rows, ids, n,
                                     [&](std::size_t i, const std::uint8_t* const* row, Int4 dots) {
                                       for (std::size_t r = 0; r < kCodeGroup && i + r < n; ++r) {
                                         const float product = query.scale * static_cast<float>(dots[r]);
                                         out[i + r] = kTail ? tail(row[r], rows.stride) + product : product;
                                       }
                                     });
  });
}

/// The row's part, less kFactor times the product, plus the query's part: all in 32 bits, and so rounded
/// once.
template <std::size_t kBits, std::uint32_t kFactor>
void code_pairs(const CodePoint& point, RowBlocks<std::uint8_t> rows, const CodeTerms* terms,
                const std::uint32_t* ids, std::size_t n, float* out) {
  with_lines(point.bytes, [&](auto lines) {
    for_products<kBits, lines.value>(
        point.values, point.bytes, rows, ids, n, [&](std::size_t i, const std::uint8_t* const*, Int4 dots) {
          for (std::size_t r = 0; r < kCodeGroup && i + r < n; ++r)
            out[i + r] = static_cast<float>(static_cast<std::int32_t>(
                terms[ids[i + r]].row + point.term - kFactor * static_cast<std::uint32_t>(dots[r])));
        });
  });
}

/// Columns [begin, begin + kVecs * kWidth) of the projection, in registers.
template <std::size_t kVecs>
inline void project_columns(const float* x, std::size_t d, const float* columns, std::size_t stride,
                            float* out) {
  Vec sum[kVecs];
  for (std::size_t v = 0; v < kVecs; ++v) sum[v] = load(out + v * kWidth);
  for (std::size_t j = 0; j < d; ++j) {
    const Vec factor = broadcast(x[j]);
    const float* row = columns + j * stride;
    for (std::size_t v = 0; v < kVecs; ++v) sum[v] = sum[v] + factor * load(row + v * kWidth);
  }
  for (std::size_t v = 0; v < kVecs; ++v) store(out + v * kWidth, sum[v]);
}

void project(const float* x, std::size_t d, const float* columns, std::size_t n_columns, float* out) {
  constexpr std::size_t kVecs = 8;
  std::size_t c = 0;
  for (; c + kVecs * kWidth <= n_columns; c += kVecs * kWidth)
    project_columns<kVecs>(x, d, columns + c, n_columns, out + c);
  for (; c < n_columns; c += kWidth) project_columns<1>(x, d, columns + c, n_columns, out + c);
}

}  // namespace
}  // namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA
