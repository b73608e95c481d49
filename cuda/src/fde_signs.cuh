// The signs of a chunk's tokens: products of the tensor cores, and where a bound leaves a sign in doubt the
// canonical one. Bits as in fde_cells.hpp.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "fde_cells.hpp"
#include "fde_chunks.cuh"
#include "fde_kernel_job.hpp"
#include "lanes.cuh"
#include "maxsim_bound.hpp"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

class ChunkSigns : public SetChunks {
 protected:
  using SetChunks::SetChunks;

  /// A bound of the lengths in each group of 8 tokens, as in maxsim_kernel.cuh.
  __device__ __forceinline__ void find_lengths(int i) const {
    const unsigned n = n_tokens(item(i));
    // The last warps first: the first have more signs to find.
    for (unsigned group = warps() - 1 - warp(); group * kColumns < n; group += warps()) {
      float sums[4] = {}, others[4] = {};  // two chains of products, for their latency
      Operand high, low;
#pragma unroll
      for (unsigned step = 0; step < kFdeHeldSteps; ++step) {
        if (step >= job_.n_steps) break;
        TokenOperand<T>::load(tile(i), group * kColumns + lane() / 4, step, lane() % 4, job_.pitch, high,
                              low);
        add_product(sums, make_uint4(high.word[0], 0, high.word[1], 0), high.word[0], high.word[1]);
        add_product(others, make_uint4(high.word[2], 0, high.word[3], 0), high.word[2], high.word[3]);
      }
      const float largest = fmaxf(fmaxf(sums[0] + others[0], sums[1] + others[1]), 0.0f);
      const unsigned bits = __reduce_max_sync(kAllLanes, __float_as_uint(largest));
      if (lane() == 0)
        lengths(i)[group] = length_bound(__uint_as_float(bits), false, sqrtf(static_cast<float>(job_.dim)));
    }
  }

  /// Products of 16 rows of an operand with pair number `pair` of groups of 8 tokens.
  template <class Rows>
  __device__ __forceinline__ void multiply(const unsigned char* tokens, unsigned pair, Rows rows,
                                           float (&sums)[2][4]) const {
#pragma unroll
    for (unsigned step = 0; step < kFdeHeldSteps; ++step) {
      if (step >= job_.n_steps) break;
      Operand token[2], none;
#pragma unroll
      for (unsigned sub = 0; sub < 2; ++sub)
        TokenOperand<T>::load(tokens, pair * kPairTokens + sub * kColumns + lane() / 4, step, lane() % 4,
                              job_.pitch, token[sub], none);
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        const uint4 a = rows(step, half);
#pragma unroll
        for (unsigned sub = 0; sub < 2; ++sub)
          add_product(sums[sub], a, token[sub].word[2 * half], token[sub].word[2 * half + 1]);
      }
    }
  }

  __device__ __forceinline__ void find_signs(int i) const {
    const unsigned n = n_tokens(item(i));
    if (job_.k_sim == 0) return;
    const unsigned first_plane = shared().first_rep * job_.k_sim, end_plane = shared().end_rep * job_.k_sim;
    const unsigned first_tile = first_plane / kQueryRows, end_tile = (end_plane - 1) / kQueryRows + 1;
    const unsigned n_pairs = (n + kPairTokens - 1) / kPairTokens;
    for (unsigned unit = warp(); unit < (end_tile - first_tile) * n_pairs; unit += warps()) {
      const unsigned plane_tile = first_tile + unit / n_pairs, pair = unit % n_pairs;
      const uint4* operand =
          job_.tables.plane_operand + operand_index(plane_tile, job_.n_steps, 0, 0, lane());
      const unsigned plane = plane_tile * kQueryRows + lane() / 4;
      float sums[2][4] = {};
      multiply(
          tile(i), pair,
          [&](unsigned step, unsigned half) { return __ldg(operand + (step * 2 + half) * kLanes); }, sums);
      const float2 length = *reinterpret_cast<const float2*>(lengths(i) + pair * 2);
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        const bool mine = plane + 8 * h >= first_plane && plane + 8 * h < end_plane;
        const float4 facts = plane_facts(plane + 8 * h, end_plane);
        std::uint32_t positive = 0, doubts = 0;
#pragma unroll
        for (unsigned sub = 0; sub < 2; ++sub) {
          const float bound =
              facts.x * ((sub == 0 ? length.x : length.y) + job_.tables.center_norm) + facts.y;
#pragma unroll
          for (unsigned v = 0; v < 2; ++v) {
            const float product = sums[sub][2 * h + v] - facts.z;
            const std::uint32_t bit = 1u << (4 * sub + 16 * v);
            positive |= product > 0 ? bit : 0;
            doubts |= fabsf(product) > bound ? 0 : bit;
          }
        }
        const std::uint32_t valid = mine ? first_bits(n - pair * kPairTokens) & kPairBits : 0;
        doubts = doubts << lane() % 4 & valid;
        std::uint32_t bits = positive << lane() % 4 & valid & ~doubts;
        for (unsigned left = __ballot_sync(kAllLanes, doubts != 0); left != 0; left &= left - 1) {
          const int from = __ffs(static_cast<int>(left)) - 1;
          const unsigned doubtful_plane = __shfl_sync(kAllLanes, plane, from) + 8 * h;
          for (std::uint32_t open = __shfl_sync(kAllLanes, doubts, from); open != 0; open &= open - 1) {
            const auto bit = static_cast<unsigned>(__ffs(static_cast<int>(open)) - 1);
            const bool sign = canonical_sign(tile(i), pair * kPairTokens + bit_token(bit), doubtful_plane);
            if (sign && static_cast<int>(lane()) == from) bits |= 1u << bit;
          }
        }
        bits |= __shfl_xor_sync(kAllLanes, bits, 1);
        bits |= __shfl_xor_sync(kAllLanes, bits, 2);
        // Of a word, a pair has the bytes 0 and 2 or 1 and 3.
        if (mine && lane() % 4 == 0) {
          auto* bytes = reinterpret_cast<unsigned char*>(signs(i, plane + 8 * h - first_plane) + pair / 2);
          bytes[pair % 2] = static_cast<unsigned char>(bits);
          bytes[pair % 2 + 2] = static_cast<unsigned char>(bits >> 16);
        }
      }
    }
  }
  __device__ __forceinline__ float4 plane_facts(unsigned plane, unsigned end) const {
    return plane < end ? __ldg(reinterpret_cast<const float4*>(job_.tables.plane_facts + plane))
                       : make_float4(0, 0, 0, 0);
  }

  __device__ __forceinline__ bool canonical_sign(const unsigned char* tokens, unsigned row,
                                                 unsigned plane) const {
    const float* g = job_.tables.planes + std::size_t{plane} * job_.dim;
    float sum = 0;
#pragma unroll 4
    for (unsigned i = lane(); i < job_.dim; i += kLanes) {
      const unsigned byte = i * static_cast<unsigned>(sizeof(T));
      const unsigned at = TokenRows<sizeof(T)>::offset(row, byte / kChunkBytes, job_.pitch);
      float value =
          TokenOperand<T>::widen(reinterpret_cast<const T*>(tokens + at + byte % kChunkBytes), 1.0f);
      if (job_.tables.center != nullptr) value = __fsub_rn(value, __ldg(job_.tables.center + i));
      sum = Ip::add(sum, value, __ldg(g + i));
    }
    for (unsigned half = kLanes / 2; half > 0; half /= 2)
      sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, half));
    return sum > 0;
  }
};

}  // namespace whimbrel::cuda
