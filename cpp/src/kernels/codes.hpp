// Products of byte codes with a quantized query, and projections whose sums have one order: what search on
// codes is made of. Included by distance_kernels.cpp alone.
//
// Numerics. A code is 0..255, a value of the query -127..127, their products are summed in 32 bits, exact for
// up to kMaxCodeBytes bytes, so that sums have the same bits on every instruction set whatever their order. A
// projection sums in the order of the input's coordinates, multiply and add rounded separately: the same
// bits, however wide a register is.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/lanes.hpp"

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

/// Bytes that one step of a dot product takes of each row; kCodeLine is a multiple of it.
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

/// sums += the products of one line of codes (kCodeLine bytes, aligned) with the query's.
inline CodeSums add_line(CodeSums sums, const std::uint8_t* code, const std::int8_t* query) {
#if defined(__AVX512F__)
  return _mm512_dpbusd_epi32(sums, _mm512_load_si512(code), _mm512_load_si512(query));
#elif defined(__AVX2__)
  // Widened to 16 bits: the 8-bit multiply-add saturates.
  for (std::size_t i = 0; i < kCodeLine; i += 16) {
    const __m256i c = _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(code + i)));
    const __m256i q = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(query + i)));
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(c, q));
  }
  return sums;
#elif defined(__SSE2__)
  const __m128i zero = _mm_setzero_si128();
  for (std::size_t i = 0; i < kCodeLine; i += 16) {
    const __m128i c = _mm_load_si128(reinterpret_cast<const __m128i*>(code + i));
    const __m128i q = _mm_load_si128(reinterpret_cast<const __m128i*>(query + i));
    const __m128i sign = _mm_cmpgt_epi8(zero, q);
    sums = _mm_add_epi32(sums, _mm_madd_epi16(_mm_unpacklo_epi8(c, zero), _mm_unpacklo_epi8(q, sign)));
    sums = _mm_add_epi32(sums, _mm_madd_epi16(_mm_unpackhi_epi8(c, zero), _mm_unpackhi_epi8(q, sign)));
  }
  return sums;
#elif defined(__ARM_NEON)
  for (std::size_t i = 0; i < kCodeLine; i += 8) {
    const int16x8_t c = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(code + i)));
    const int16x8_t q = vmovl_s8(vld1_s8(query + i));
    sums = vmlal_s16(sums, vget_low_s16(c), vget_low_s16(q));
    sums = vmlal_s16(sums, vget_high_s16(c), vget_high_s16(q));
  }
  return sums;
#else
  for (std::size_t i = 0; i < kCodeLine; ++i) sums += code[i] * query[i];
  return sums;
#endif
}

inline std::int32_t total(CodeSums sums) {
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
  const auto q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#elif defined(__SSE2__) || defined(__ARM_NEON)
  typedef std::int32_t Int4 __attribute__((vector_size(16)));
  const auto q = reinterpret_cast<Int4>(sums);
#endif
#if defined(__SSE2__) || defined(__ARM_NEON)
  const auto p = q + __builtin_shufflevector(q, q, 2, 3, 2, 3);
  return p[0] + p[1];
#else
  return sums;
#endif
}

/// The float at the end of a row of codes.
inline float tail(const std::uint8_t* row, std::size_t stride) {
  float out;
  __builtin_memcpy(&out, row + stride - sizeof out, sizeof out);
  return out;
}

template <bool kTail, std::size_t N>
inline void code_rows(const CodeQuery& query, const std::uint8_t* const* row, std::size_t stride,
                      float* out) {
  CodeSums sums[N];
  for (std::size_t r = 0; r < N; ++r) sums[r] = zero_sums();
  for (std::size_t i = 0; i < query.bytes; i += kCodeLine)
    for (std::size_t r = 0; r < N; ++r) sums[r] = add_line(sums[r], row[r] + i, query.values + i);
  for (std::size_t r = 0; r < N; ++r) {
    const float product = query.scale * static_cast<float>(total(sums[r]));
    out[r] = kTail ? tail(row[r], stride) + product : product;
  }
}

inline void prefetch_row(const std::uint8_t* row, std::size_t stride) {
  for (std::size_t i = 0; i < stride; i += kCodeLine) prefetch(row + i);
}

template <bool kTail>
void code_ids(const CodeQuery& query, RowBlocks<std::uint8_t> rows, const std::uint32_t* ids, std::size_t n,
              float* out) {
  constexpr std::size_t kGroup = 4;
  // How many rows are on their way at a time.
  constexpr std::size_t kAhead = 2 * kGroup;
  for (std::size_t i = 0; i < (n < kAhead ? n : kAhead); ++i) prefetch_row(rows.row(ids[i]), rows.stride);
  std::size_t i = 0;
  for (; i + kGroup <= n; i += kGroup) {
    const std::uint8_t* row[kGroup];
    for (std::size_t r = 0; r < kGroup; ++r) {
      row[r] = rows.row(ids[i + r]);
      if (i + kAhead + r < n) prefetch_row(rows.row(ids[i + kAhead + r]), rows.stride);
    }
    code_rows<kTail, kGroup>(query, row, rows.stride, out + i);
  }
  for (; i < n; ++i) {
    const std::uint8_t* row = rows.row(ids[i]);
    code_rows<kTail, 1>(query, &row, rows.stride, out + i);
  }
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
