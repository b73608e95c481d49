// Document tokens on their way into a product: tiles of rows in shared memory, and a lane's share of a step
// as half precision operands. Codes and halves are exact as they are; floats are split in two halves.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "token_layout.hpp"
#include "token_product.cuh"

namespace whimbrel::cuda {

/// Coordinates of one lane in one step: registers 2 h and 2 h + 1 are of product h.
struct Operand {
  std::uint32_t word[4];
};

inline __device__ std::uint32_t pack(__half first, __half second) {
  return static_cast<std::uint32_t>(__half_as_ushort(first)) |
         static_cast<std::uint32_t>(__half_as_ushort(second)) << 16;
}

/// value = high + low, with an error below 2^-22 |value| + 2^-25.
inline __device__ void split(float value, __half& high, __half& low) {
  high = __float2half_rn(value);
  low = __float2half_rn(__fsub_rn(value, __half2float(high)));
}

template <class T>
struct TokenOperand;

template <>
struct TokenOperand<__half> {
  static constexpr bool kLow = false;
  static __device__ void load(const unsigned char* tile, unsigned row, unsigned step, unsigned t,
                              unsigned pitch, Operand& high, Operand&) {
    const uint4 v = *reinterpret_cast<const uint4*>(tile + TokenRows<2>::lane_offset(row, step, t, 0, pitch));
    high.word[0] = v.x, high.word[1] = v.y, high.word[2] = v.z, high.word[3] = v.w;
  }
  static __device__ float widen(const __half* p, float) { return __half2float(*p); }
};

template <>
struct TokenOperand<std::int8_t> {
  static constexpr bool kLow = false;
  static __device__ void load(const unsigned char* tile, unsigned row, unsigned step, unsigned t,
                              unsigned pitch, Operand& high, Operand&) {
    const uint2 v = *reinterpret_cast<const uint2*>(tile + TokenRows<1>::lane_offset(row, step, t, 0, pitch));
    // With its sign bit turned over, byte b is the half 0x6400 + b, which is 1024 + b: exact.
    const std::uint32_t words[2] = {v.x ^ 0x80808080u, v.y ^ 0x80808080u};
    for (unsigned i = 0; i < 4; ++i) {
      const std::uint32_t biased = __byte_perm(words[i / 2], 0x64646464u, i % 2 == 0 ? 0x4140 : 0x4342);
      const __half first = __ushort_as_half(static_cast<unsigned short>(biased & 0xffffu));
      const __half second = __ushort_as_half(static_cast<unsigned short>(biased >> 16));
      const __half2 code = __hsub2(__halves2half2(first, second), __float2half2_rn(1152.0f));
      high.word[i] = pack(__low2half(code), __high2half(code));
    }
  }
  static __device__ float widen(const std::int8_t* p, float scale) {
    return __fmul_rn(static_cast<float>(*p), scale);
  }
};

template <>
struct TokenOperand<float> {
  static constexpr bool kLow = true;
  static __device__ void load(const unsigned char* tile, unsigned row, unsigned step, unsigned t,
                              unsigned pitch, Operand& high, Operand& low) {
    for (unsigned part = 0; part < 2; ++part) {
      const float4 v =
          *reinterpret_cast<const float4*>(tile + TokenRows<4>::lane_offset(row, step, t, part, pitch));
      __half h[4], l[4];
      split(v.x, h[0], l[0]);
      split(v.y, h[1], l[1]);
      split(v.z, h[2], l[2]);
      split(v.w, h[3], l[3]);
      high.word[2 * part] = pack(h[0], h[1]);
      high.word[2 * part + 1] = pack(h[2], h[3]);
      low.word[2 * part] = pack(l[0], l[1]);
      low.word[2 * part + 1] = pack(l[2], l[3]);
    }
  }
  static __device__ float widen(const float* p, float) { return *p; }
};

/// Brings rows of tokens to tiles in shared memory, zeros behind their coordinates and zero rows behind the
/// last. All threads of the block take part; rows are there after wait_for_copies and a barrier.
template <class T>
class TileFetcher {
 public:
  __device__ explicit TileFetcher(const TileShares& shares)
      : first_row_(threadIdx.x / shares.chunks), first_chunk_(threadIdx.x % shares.chunks) {}

  /// `n_rows` rows of the tile, of which the first `n_valid` are those at `base`.
  __device__ void fetch(const TileShares& shares, const T* base, std::size_t stride, unsigned dim,
                        unsigned n_valid, unsigned n_rows, unsigned pitch, unsigned char* tile) const {
    unsigned chunk = first_chunk_;
    // The common case, in which a thread's chunks stand below each other.
    if (shares.chunk_step == 0 && shares.aligned && chunk * kPerChunk + kPerChunk <= dim) {
      const T* from = base + first_row_ * stride + chunk * kPerChunk;
      for (unsigned row = first_row_; row < n_rows; row += shares.row_step) {
        copy_chunk_async(tile + TokenRows<sizeof(T)>::offset(row, chunk, pitch), row < n_valid ? from : base,
                         row < n_valid ? kChunkBytes : 0);
        from += shares.row_step * stride;
      }
      return;
    }
    for (unsigned row = first_row_; row < n_rows;) {
      unsigned char* to = tile + TokenRows<sizeof(T)>::offset(row, chunk, pitch);
      const unsigned begin = chunk * kPerChunk;
      const unsigned n = row < n_valid && begin < dim ? min(dim - begin, kPerChunk) : 0;
      const T* from = base + (n > 0 ? row * stride + begin : 0);
      if (shares.aligned) {
        copy_chunk_async(to, from, n * static_cast<unsigned>(sizeof(T)));
      } else {
        T* values = reinterpret_cast<T*>(to);
        for (unsigned k = 0; k < kPerChunk; ++k) values[k] = k < n ? from[k] : T{};
      }
      row += shares.row_step;
      chunk += shares.chunk_step;
      if (chunk >= shares.chunks) {
        chunk -= shares.chunks;
        ++row;
      }
    }
  }

 private:
  static constexpr unsigned kPerChunk = kChunkBytes / sizeof(T);

  unsigned first_row_, first_chunk_;
};

}  // namespace whimbrel::cuda
