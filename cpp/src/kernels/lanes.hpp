// The vector type of the instruction set this file is compiled for, and the few operations kernels need.
//
// Adding an ISA: one width and these primitives here, one line in cpp/CMakeLists.txt, one row in
// dispatch.cpp. No standard templates: nothing here may leave a weak symbol in the object file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.hpp"

#if defined(__AVX2__) || defined(__AVX512F__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t kWidth = 16;
#elif defined(__AVX2__)
constexpr std::size_t kWidth = 8;
#else
constexpr std::size_t kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * sizeof(float))));
/// A row number beside each lane.
typedef std::uint32_t Index __attribute__((vector_size(kWidth * sizeof(float))));
typedef std::uint32_t UnalignedIndex
    __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));
typedef float UnalignedVec __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
inline void store(std::uint32_t* p, Index v) { *reinterpret_cast<UnalignedIndex*>(p) = v; }
inline Vec broadcast(float x) { return x - Vec{}; }

/// bfloat16 to float: the bits are the upper half.
inline Vec load(const std::uint16_t* p) {
#if defined(__AVX512F__)
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  typedef std::uint32_t Word __attribute__((vector_size(64)));
  return reinterpret_cast<Vec>(reinterpret_cast<Word>(_mm512_maskz_cvtepu16_epi32(0xffff, half)) << 16);
#elif defined(__AVX2__)
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return reinterpret_cast<Vec>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
#elif defined(__SSE2__)
  const __m128i half = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return reinterpret_cast<Vec>(_mm_unpacklo_epi16(_mm_setzero_si128(), half));
#elif defined(__ARM_NEON)
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
#else
  Vec v{};
  for (std::size_t i = 0; i < kWidth; ++i)
    v[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(p[i]) << 16);
  return v;
#endif
}
inline Vec load_partial(const std::uint16_t* p, std::size_t n) {
  std::uint16_t padded[kWidth] = {};
  for (std::size_t i = 0; i < n; ++i) padded[i] = p[i];
  return load(padded);
}

/// float16 to float, exactly, for finite values. Exponent and fraction move to their places, and a product by
/// 2^112 corrects the bias; that makes subnormal values of what float16 has as subnormal, without a branch.
inline Vec load(const Half* p) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__ARM_NEON)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
  typedef std::uint32_t Word __attribute__((vector_size(kWidth * sizeof(float))));
#if defined(__AVX2__)
  const Word w =
      reinterpret_cast<Word>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__SSE2__)
  const Word w = reinterpret_cast<Word>(
      _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128()));
#else
  Word w{};
  for (std::size_t i = 0; i < kWidth; ++i) w[i] = p[i].bits;
#endif
  const Vec magnitude = reinterpret_cast<Vec>((w & 0x7fffu) << 13) * 0x1p112f;
  return reinterpret_cast<Vec>(reinterpret_cast<Word>(magnitude) | (w & 0x8000u) << 16);
#endif
}
inline Vec load_partial(const Half* p, std::size_t n) {
  Half padded[kWidth] = {};
  for (std::size_t i = 0; i < n; ++i) padded[i] = p[i];
  return load(padded);
}

/// Whole numbers to float.
inline Vec load(const std::int8_t* p) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  Vec v{};
  for (std::size_t i = 0; i < kWidth; ++i) v[i] = static_cast<float>(p[i]);
  return v;
#endif
}
inline Vec load_partial(const std::int8_t* p, std::size_t n) {
  std::int8_t padded[kWidth] = {};
  for (std::size_t i = 0; i < n; ++i) padded[i] = p[i];
  return load(padded);
}

/// The first n < kWidth floats, zeros behind them.
inline Vec load_partial(const float* p, std::size_t n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
#else
  Vec v{};
  for (std::size_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

/// a * b + c, fused where the ISA can.
inline Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

/// Bit i set where a[i] < b[i].
inline std::uint64_t less_mask(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
#elif defined(__AVX2__)
  return static_cast<std::uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)));
#elif defined(__SSE2__)
  return static_cast<std::uint64_t>(_mm_movemask_ps(_mm_cmplt_ps(a, b)));
#else
  std::uint64_t mask = 0;
  for (std::size_t i = 0; i < kWidth; ++i) mask |= static_cast<std::uint64_t>(a[i] < b[i]) << i;
  return mask;
#endif
}

/// Sum of the lanes of one vector by halves: lane i takes lane i + w for w = kWidth/2, ..., 2, 1.
inline float fold(Vec v) {
#if defined(__AVX512F__)
  const auto h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  const Vec h = v;
#endif
#if defined(__AVX2__)
  const auto q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#else
  const Vec q = v;
#endif
  const auto p = q + __builtin_shufflevector(q, q, 2, 3, 2, 3);
  return p[0] + p[1];
}

// Register block of the tile: kTileRows x kTileVecs accumulators. 24 of the 32 registers of AVX-512 and NEON,
// 12 of the 16 of AVX2, 8 of the 16 of SSE, which has no broadcast from memory and needs scratch.
#if defined(__AVX512F__)
constexpr std::size_t kTileRows = 8, kTileVecs = 3;
#elif defined(__AVX2__)
constexpr std::size_t kTileRows = 4, kTileVecs = 3;
#elif defined(__ARM_NEON)
constexpr std::size_t kTileRows = 8, kTileVecs = 3;
#else
constexpr std::size_t kTileRows = 4, kTileVecs = 2;
#endif
constexpr std::size_t kTileCols = kTileVecs * kWidth;

/// Bring the cache line of p near, for reading. A dropped prefetch costs a quarter of the search speed, and
/// compilers have dropped them: a test counts them in the object code.
inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

}  // namespace
}  // namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA
