// The kernel of the encoder for the usual parameters, where the sums of cells are matrix products: signs of
// tokens, membership as one bit for each token and cell, and, in the registers of one warp, projections of
// tokens times membership. fde_kernel.cuh has the general kernel, and the same results.
//
// A block goes through the chunks of its sets, at most 128 tokens each, and works on several at the same time
// with one barrier for each: while chunk i is projected, the signs of chunk i + 1 are taken, the lengths of
// the tokens of chunk i + 2 are bounded, and chunk i + 3 is on its way. A warp owns 16 coordinates of the
// encoding's blocks.
//
// Numerics. A projected coordinate y is added as its half, and the half of what that lacks: with an error of
// 2^-22 |y| + 2^-25 at most, and none for tokens of float16 while |y| < 2. Membership is 2^-14, exact.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "fde_cells.hpp"
#include "fde_chunks.cuh"
#include "fde_kernel_job.hpp"
#include "fde_signs.cuh"
#include "lanes.cuh"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

/// @tparam kHalves  the lower 8 coordinates of a tile can belong to another repetition than the upper
template <bool kHalves>
class SetProducts : private ChunkSigns {
 public:
  static constexpr unsigned kCellTiles = 2;            // of 16 cells
  static constexpr unsigned kParts = kHalves ? 2 : 1;  // repetitions of a tile
  // As many as have registers enough.
  static constexpr unsigned kMaxWarps = kHalves ? 16 : kFdeMaxWarps;
  static constexpr unsigned kSubs = kWordTokens / kColumns;

  __device__ __forceinline__ SetProducts(const FdeJob& job, unsigned char* tiles) : ChunkSigns(job, tiles) {}

  __device__ __forceinline__ void run() {
    start();
    for (int i = -static_cast<int>(kFdeStages) + 1;; ++i) {
      wait_for_copies<0>();
      __syncthreads();
      if (i >= 0 && item(i).set >= n_sets()) return;
      step(i + 4);
      fetch(i + 3);
      if (i >= -2) find_lengths(i + 2);
      if (i >= -1) find_signs(i + 1);
      if (i < 0) continue;
      load_rows();  // held from here on only: the signs need registers
      project(i);
    }
  }

 private:
  __device__ __forceinline__ static unsigned first_row() {
    return (blockIdx.y * warps() + warp()) * kQueryRows;
  }
  /// Repetition of part p of the warp's rows.
  __device__ __forceinline__ unsigned rep(unsigned p) const {
    return (first_row() + p * kColumns) / job_.d_proj;
  }
  __device__ __forceinline__ bool is_row(unsigned p) const {
    return first_row() + p * kColumns < job_.n_rows;
  }
  __device__ __forceinline__ const uint4* row_operand() const {
    return job_.tables.row_operand + operand_index(first_row() / kQueryRows, job_.n_steps, 0, 0, lane());
  }

  __device__ __forceinline__ void load_rows() {
#pragma unroll
    for (unsigned step = 0; step < kFdeHeldSteps; ++step)
#pragma unroll
      for (unsigned half = 0; half < 2; ++half)
        rows_[step][half] = step < job_.n_steps && is_row(0)
                                ? __ldg(row_operand() + (step * 2 + half) * kLanes)
                                : make_uint4(0, 0, 0, 0);
  }

  /// The tokens of cell number `lane` in one repetition.
  struct Cell {
    std::uint32_t words[kWords];
    std::uint32_t count, first;  // of the set so far
  };

  __device__ __forceinline__ void take_census(int i, unsigned n, unsigned begin, unsigned repetition,
                                              Cell& cell) const {
    std::uint32_t words[kWords];
#pragma unroll
    for (unsigned w = 0; w < kWords; ++w)
      words[w] = lane() < job_.n_cells && n > w * kWordTokens ? first_bits(n - w * kWordTokens) : 0;
    const std::uint32_t* sign = signs(i, (repetition - shared().first_rep) * job_.k_sim);
#pragma unroll
    for (unsigned b = 0; b < kMaxBits; ++b) {
      if (b >= job_.k_sim) break;
      const std::uint32_t flip = lane() >> (job_.k_sim - 1 - b) & 1 ? 0 : ~std::uint32_t{0};
      static_assert(kWords == 4);
      const uint4 all = *reinterpret_cast<const uint4*>(sign + b * kWords);
      const std::uint32_t read[kWords] = {all.x, all.y, all.z, all.w};
#pragma unroll
      for (unsigned w = 0; w < kWords; ++w) words[w] &= read[w] ^ flip;
    }
#pragma unroll
    for (unsigned w = 0; w < kWords; ++w) {
      cell.words[w] = words[w];
      cell.count += static_cast<std::uint32_t>(__popc(words[w]));
      if (words[w] != 0) cell.first = min(cell.first, begin + w * kWordTokens + first_token(words[w]));
    }
    if (job_.partitions != nullptr) write_partitions(i, n, begin, repetition);
  }

  /// Left to the first of the warps that share a repetition.
  __device__ __forceinline__ void write_partitions(int i, unsigned n, unsigned begin,
                                                   unsigned repetition) const {
    for (unsigned token = lane(); token < n; token += kLanes) {
      std::uint32_t cell = 0;
      for (unsigned b = 0; b < job_.k_sim; ++b)
        cell =
            cell << 1 | (signs(i, (repetition - shared().first_rep) * job_.k_sim + b)[token / kWordTokens] >>
                             token_bit(token % kWordTokens) &
                         1);
      job_.partitions[repetition * job_.n_tokens + static_cast<std::size_t>(item(i).first) + begin + token] =
          job_.gray ? gray_number(cell) : cell;
    }
  }

  /// Number of the nearest token, for a cell without one.
  __device__ __forceinline__ std::uint32_t nearest(const Cell& cell) const {
    std::uint32_t key = cell.count > 0 ? cell.first : kNoTokenKey;
    for (unsigned b = 0; b < job_.k_sim; ++b) key = nearer_key(key, __shfl_xor_sync(kAllLanes, key, 1u << b));
    return key_token(key);
  }

  __device__ __forceinline__ void project(int i) {
    const FdeItem& it = item(i);
    const unsigned n = n_tokens(it);
    if (it.begin == 0) {
#pragma unroll
      for (unsigned c = 0; c < kCellTiles; ++c)
#pragma unroll
        for (unsigned p = 0; p < 2; ++p)
#pragma unroll
          for (unsigned v = 0; v < 4; ++v) sums_[c][p][v] = 0;
#pragma unroll
      for (unsigned p = 0; p < kParts; ++p) cells_[p].count = 0, cells_[p].first = kNoTokenKey;
      shrink_ = 1;
    }
    const bool last = it.begin + kChunk >= it.length, fill = last && job_.fill && it.length > 0;
    if (n > 0) {
#pragma unroll
      for (unsigned p = 0; p < kParts; ++p) {
        if (!is_row(p)) continue;
        Cell& cell = cells_[p];
        take_census(i, n, it.begin, rep(p), cell);
        if (fill && it.begin == 0) {
          const std::uint32_t token = nearest(cell);
          const bool empty = lane() < job_.n_cells && cell.count == 0;
#pragma unroll
          for (unsigned w = 0; w < kWords; ++w)
            cell.words[w] |= empty && token / kWordTokens == w ? 1u << token_bit(token % kWordTokens) : 0;
        }
      }
      shrink(i, n);
      for (unsigned word = 0; word * kWordTokens < n; ++word) {
        std::uint32_t turned[kParts][2 * kCellTiles];
#pragma unroll
        for (unsigned p = 0; p < kParts; ++p) {
          Cell& cell = cells_[p];
          turn_members(cell.words[0], turned[p]);
#pragma unroll
          for (unsigned w = 0; w + 1 < kWords; ++w) cell.words[w] = cell.words[w + 1];
        }
#pragma unroll
        for (unsigned first = 0; first < kSubs; first += 2) {
          const unsigned pair = (word * kSubs + first) / 2;
          if (pair * kPairTokens >= n) break;
          float projected[2][4] = {};
          multiply(tile(i), pair, [&](unsigned step, unsigned half) { return rows_[step][half]; }, projected);
          add_members<0, 2>(turned, first, projected);
        }
      }
    }
    if (!last) return;
    if (fill && it.begin > 0) fill_from_memory(it);
    write(it);
  }

  /// Projections that could pass the largest half are taken 2^-8 times, from here to the end of the set.
  __device__ __forceinline__ void shrink(int i, unsigned n) {
    const float length = lane() * kColumns < n && lane() < kGroups ? lengths(i)[lane()] : 0.0f;
    const unsigned longest = __reduce_max_sync(kAllLanes, __float_as_uint(length));
    if (__uint_as_float(longest) < job_.plain_length || shrink_ != 1) return;
    shrink_ = 0x1p-8f;
#pragma unroll
    for (unsigned c = 0; c < kCellTiles; ++c)
#pragma unroll
      for (unsigned p = 0; p < 2; ++p)
#pragma unroll
        for (unsigned v = 0; v < 4; ++v) sums_[c][p][v] *= shrink_;
  }

  /// The words of the cells whose rows of an operand this lane holds, from those of cell number `lane`.
  __device__ __forceinline__ static void turn_members(std::uint32_t word,
                                                      std::uint32_t (&turned)[2 * kCellTiles]) {
#pragma unroll
    for (unsigned c = 0; c < 2 * kCellTiles; ++c)
      turned[c] =
          turn_for_lane(__shfl_sync(kAllLanes, word, static_cast<int>(lane() / 4 + 8 * c)), lane() % 4);
  }

  /// Add 16 projected tokens, 8 first_sub and those that follow in the word, to the cells that have them.
  /// Coordinates 8 p .. 8 p + 7 of the warp's, kFirst <= p < kEnd.
  template <unsigned kFirst, unsigned kEnd>
  __device__ __forceinline__ void add_members(const std::uint32_t (&turned)[kParts][2 * kCellTiles],
                                              unsigned first_sub, float (&projected)[2][4]) {
    if (shrink_ != 1) {
#pragma unroll
      for (unsigned sub = 0; sub < 2; ++sub)
#pragma unroll
        for (unsigned v = 0; v < 4; ++v) projected[sub][v] *= shrink_;
    }
#pragma unroll
    for (unsigned p = kFirst; p < kEnd; ++p) {
      std::uint32_t high[2], low[2];
#pragma unroll
      for (unsigned sub = 0; sub < 2; ++sub) {
        const float y[2] = {projected[sub][2 * p], projected[sub][2 * p + 1]};
        const __half2 h = __floats2half2_rn(y[0], y[1]);
        const float2 back = __half22float2(h);
        const __half2 l = __floats2half2_rn(__fsub_rn(y[0], back.x), __fsub_rn(y[1], back.y));
        high[sub] = pack(__low2half(h), __high2half(h));
        low[sub] = pack(__low2half(l), __high2half(l));
      }
      const std::uint32_t (&t)[2 * kCellTiles] = turned[kHalves ? p : 0];
#pragma unroll
      for (unsigned c = 0; c < kCellTiles; ++c) {
        const uint4 a =
            make_uint4(member_pair(t[2 * c], first_sub), member_pair(t[2 * c + 1], first_sub),
                       member_pair(t[2 * c], first_sub + 1), member_pair(t[2 * c + 1], first_sub + 1));
        add_product(sums_[c][p], a, high[0], high[1]);
        add_product(sums_[c][p], a, low[0], low[1]);
      }
    }
  }

  /// Empty cells of a set of several chunks: their tokens are read again, token c for cell c.
  __device__ __forceinline__ void fill_from_memory(const FdeItem& it) {
#pragma unroll
    for (unsigned part = 0; part < kParts; ++part) {
      if (!is_row(part)) continue;
      const Cell& cell = cells_[part];
      const bool empty = lane() < job_.n_cells && cell.count == 0;
      const std::uint32_t token = nearest(cell);
      if (__ballot_sync(kAllLanes, empty) == 0) continue;
      std::uint32_t turned[kParts][2 * kCellTiles] = {};
      turn_members(empty ? 1u << token_bit(lane()) : 0, turned[part]);
#pragma unroll
      for (unsigned first = 0; first < kSubs; first += 2) {
        float projected[2][4] = {};
#pragma unroll
        for (unsigned sub = 0; sub < 2; ++sub) {
          const int cell_number = static_cast<int>((first + sub) * kColumns + lane() / 4);
          const std::uint32_t mine = __shfl_sync(kAllLanes, empty ? token : 0, cell_number);
          const T* row = token_row(static_cast<std::size_t>(it.first) + mine);
#pragma unroll 1
          for (unsigned step = 0; step < job_.n_steps; ++step) {
            const Operand operand = gather(row, step);
#pragma unroll
            for (unsigned half = 0; half < 2;
                 ++half)  // not those in registers, whose number must be constant
              add_product(projected[sub], __ldg(row_operand() + (step * 2 + half) * kLanes),
                          operand.word[2 * half], operand.word[2 * half + 1]);
          }
        }
        if (!kHalves)
          add_members<0, 2>(turned, first, projected);
        else if (part == 0)
          add_members<0, 1>(turned, first, projected);
        else
          add_members<1, 2>(turned, first, projected);
      }
    }
  }

  /// A lane's share of a step, from memory.
  __device__ __forceinline__ Operand gather(const T* row, unsigned step) const {
    const unsigned first = step_coordinate(step, 0, lane() % 4, 0);
    const auto value = [&](unsigned at) { return at < job_.dim ? row[at] : __float2half_rn(0.0f); };
    Operand operand;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) operand.word[i] = pack(value(first + 2 * i), value(first + 2 * i + 1));
    return operand;
  }

  /// Of a 4 x 4 matrix of which lane t of a group of four has column t: row t, in its place.
  template <class V>
  __device__ __forceinline__ static void transpose(V (&x)[4]) {
    const bool odd = (lane() & 1) != 0, upper = (lane() & 2) != 0;
#pragma unroll
    for (unsigned i = 0; i < 4; i += 2) {
      const V other = __shfl_xor_sync(kAllLanes, odd ? x[i] : x[i + 1], 1);
      x[i] = odd ? other : x[i];
      x[i + 1] = odd ? x[i + 1] : other;
    }
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      const V other = __shfl_xor_sync(kAllLanes, upper ? x[i] : x[i + 2], 2);
      x[i] = upper ? other : x[i];
      x[i + 2] = upper ? x[i + 2] : other;
    }
  }

  __device__ __forceinline__ void write(const FdeItem& it) const {
    const std::size_t length = std::size_t{job_.n_rows} * job_.n_cells;
    // A lane has coordinates 2 t and 2 t + 1 of the cells lane / 4 + 8 c; it writes all 8 of cell `cell`.
    const unsigned cell = lane() / 4 + lane() % 4 * 8;
    const unsigned number = job_.gray ? gray_number(cell) : cell;
    const float scale = kMemberScale / shrink_ * job_.tables.row_scale;
#pragma unroll
    for (unsigned p = 0; p < 2; ++p) {
      if (!is_row(p)) continue;
      const unsigned count = cells_[kHalves ? p : 0].count;
      const float mean = job_.documents && count > 1 ? __fdiv_rn(1.0f, static_cast<float>(count)) : 1.0f;
      float x[4], y[4];
#pragma unroll
      for (unsigned c = 0; c < 4; ++c) {
        const float share = __shfl_sync(kAllLanes, mean, static_cast<int>(lane() / 4 + 8 * c));
        x[c] = __fmul_rn(sums_[c / 2][p][c % 2 * 2] * scale, share);
        y[c] = __fmul_rn(sums_[c / 2][p][c % 2 * 2 + 1] * scale, share);
      }
      const unsigned row = first_row() + p * kColumns, repetition = rep(p);
      const std::size_t at = it.set * length +
                             (std::size_t{repetition} * job_.n_cells + number) * job_.d_proj + row -
                             repetition * job_.d_proj;
      if (job_.f16 != nullptr) {
        unsigned pairs[4];
#pragma unroll
        for (unsigned c = 0; c < 4; ++c) {
          const __half2 both = __floats2half2_rn(x[c], y[c]);
          pairs[c] = pack(__low2half(both), __high2half(both));
        }
        transpose(pairs);
        if (cell < job_.n_cells)
          *reinterpret_cast<uint4*>(job_.f16 + at) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
      if (job_.f32 != nullptr) {
        transpose(x);
        transpose(y);
        if (cell < job_.n_cells) {
          auto* out = reinterpret_cast<float4*>(job_.f32 + at);
          out[0] = make_float4(x[0], y[0], x[1], y[1]);
          out[1] = make_float4(x[2], y[2], x[3], y[3]);
        }
      }
    }
  }

  float shrink_;
  uint4 rows_[kFdeHeldSteps][2];
  float sums_[kCellTiles][2][4];
  Cell cells_[kParts];
};

template <bool kHalves>
__global__ void __launch_bounds__(SetProducts<kHalves>::kMaxWarps* kLanes, 1)
    encode_products(const __grid_constant__ FdeJob job) {
  extern __shared__ uint4 shared[];
  SetProducts<kHalves>(job, reinterpret_cast<unsigned char*>(shared)).run();
}

}  // namespace whimbrel::cuda
