// The kernel of the encoder for the usual parameters, where the sums of cells are matrix products: signs of
// tokens, membership as one bit for each token and cell, and, in the registers of one warp, projections of
// tokens times membership. fde_kernel.cuh has the general kernel, and the same results.
//
// A block goes through the chunks of its sets, at most 128 tokens each, and works on several at the same time
// with one barrier for each: while chunk i is projected, the signs of chunk i + 1 are taken, the lengths of
// the tokens of chunk i + 2 are bounded, and chunk i + 3 is on its way. A warp owns kTiles * 16 coordinates
// of the encoding's blocks.
//
// Numerics. A projected coordinate y is added as its half, and the half of what that lacks: with an error of
// 2^-22 |y| + 2^-25 at most, and none for tokens of float16 while |y| < 2. Membership is 2^-14, exact.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "fde_cells.hpp"
#include "fde_kernel_job.hpp"
#include "lanes.cuh"
#include "maxsim_bound.hpp"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

constexpr unsigned kFdeStages = 4;  // chunks in a block
constexpr unsigned kFdeItems = 8;
constexpr unsigned kPairTokens = 2 * kColumns;
constexpr unsigned kMaxBits = 5;  // of a cell: one cell for each lane

/// A chunk of a set.
struct FdeItem {
  std::int64_t first;  // token row of the set
  std::uint32_t set, begin, length;
};

/// The first thread's way through the sets: the next item, and offsets of the set after its own.
struct FdeWalk {
  FdeItem next;
  std::int64_t ahead[2];
};

/// Shared memory of a block. In front of what follows, as much as fits: tiles of tokens, one for each stage.
template <unsigned kChunk>
struct FdeProductShared {
  static constexpr unsigned kWords = kChunk / kWordTokens, kGroups = kChunk / kColumns;
  float lengths[kFdeStages][kGroups];
  FdeItem items[kFdeItems];
  FdeWalk walk;
  unsigned first_rep, end_rep;         // that the block's rows touch
  alignas(16) std::uint32_t signs[1];  // [2][planes][kWords]

  static std::size_t bytes(unsigned pitch, unsigned n_planes) {
    return kFdeStages * kChunk * pitch + sizeof(FdeProductShared) + 2 * n_planes * kWords * 4;
  }
};

/// @tparam kHalves  the lower 8 coordinates of a tile can belong to another repetition than the upper
template <class T, bool kHalves, unsigned kTiles>
class SetProducts {
 public:
  static constexpr unsigned kChunk = sizeof(T) == 2 ? 128 : 64;
  using Shared = FdeProductShared<kChunk>;
  static constexpr unsigned kWords = Shared::kWords, kGroups = Shared::kGroups;
  static constexpr unsigned kCellTiles = 2;            // of 16 cells
  static constexpr unsigned kParts = kHalves ? 2 : 1;  // repetitions of a tile
  // As many as have registers enough.
  static constexpr unsigned kMaxWarps = (kHalves ? 16 : kFdeMaxWarps) / kTiles;
  static constexpr unsigned kSubs = kWordTokens / kColumns;

  __device__ __forceinline__ SetProducts(const FdeJob& job, unsigned char* tiles)
      : job_(job), tiles_(tiles) {}

  __device__ __forceinline__ void run() {
    start();
    for (int i = -static_cast<int>(kFdeStages) + 1;; ++i) {
      wait_for_copies<0>();
      __syncthreads();
      if (i >= 0 && item(i).set >= n_sets()) return;
      step(i + 4);
      fetch(i + 3);
#ifndef FDE_NO_SIGNS
      if (i >= -2) find_lengths(i + 2);
      if (i >= -1) find_signs(i + 1);
#endif
      if (i < 0) continue;
      load_rows();  // held from here on only: the signs need registers
      project(i);
    }
  }

 private:
  static __device__ __forceinline__ unsigned lane() { return threadIdx.x % kLanes; }
  static __device__ __forceinline__ unsigned warp() { return threadIdx.x / kLanes; }
  static __device__ __forceinline__ unsigned warps() { return blockDim.x / kLanes; }
  __device__ __forceinline__ std::uint32_t n_sets() const {
    return static_cast<std::uint32_t>(job_.last - job_.first);
  }

  // --- chunks, numbered as the block takes them

  __device__ __forceinline__ Shared& shared() const {
    return *reinterpret_cast<Shared*>(tiles_ + kFdeStages * kChunk * job_.pitch);
  }
  __device__ __forceinline__ FdeItem& item(int i) const {
    return shared().items[static_cast<unsigned>(i) % kFdeItems];
  }
  __device__ __forceinline__ void look_ahead(FdeWalk& walk) const {
    const std::size_t set = job_.first + walk.next.set + gridDim.x;
    if (set >= job_.last) return;
    copy_eight_async(walk.ahead, job_.offsets + set);
    copy_eight_async(walk.ahead + 1, job_.offsets + set + 1);
  }
  __device__ __forceinline__ void start() {
    if (threadIdx.x != 0) return;
    const unsigned rows = warps() * kTiles * kQueryRows;
    shared().first_rep = blockIdx.y * rows / job_.d_proj;
    shared().end_rep = min(job_.r_reps, ((blockIdx.y + 1) * rows - 1) / job_.d_proj + 1);
    FdeWalk& walk = shared().walk;
    walk.next = {0, blockIdx.x, 0, 0};
    if (blockIdx.x < n_sets()) {
      walk.next.first = __ldg(job_.offsets + job_.first + blockIdx.x);
      walk.next.length =
          static_cast<std::uint32_t>(__ldg(job_.offsets + job_.first + blockIdx.x + 1) - walk.next.first);
    }
    look_ahead(walk);
    commit_copies();
    wait_for_copies<0>();
    step(0);
    commit_copies();  // what step() looks ahead for is there when the first chunk begins
  }
  /// Put item i into its place.
  __device__ __forceinline__ void step(int i) {
    if (threadIdx.x != 0 || i < 0) return;
    FdeWalk& walk = shared().walk;
    FdeItem& next = walk.next;
    item(i) = next;
    if (next.set >= n_sets()) return;
    next.begin += kChunk;
    if (next.begin < next.length) return;
    const unsigned left = n_sets() - next.set;
    next = {walk.ahead[0], gridDim.x < left ? next.set + gridDim.x : n_sets(), 0,
            static_cast<std::uint32_t>(walk.ahead[1] - walk.ahead[0])};
    if (next.set < n_sets()) look_ahead(walk);
  }
  __device__ __forceinline__ unsigned n_tokens(const FdeItem& it) const {
    return it.set < n_sets() ? min(kChunk, it.length - it.begin) : 0;
  }
  __device__ __forceinline__ unsigned char* tile(int i) const {
    return tiles_ + static_cast<unsigned>(i) % kFdeStages * kChunk * job_.pitch;
  }
  __device__ __forceinline__ const T* token_row(std::size_t row) const {
    return static_cast<const T*>(job_.tokens) + row * job_.stride;
  }
  __device__ __forceinline__ void fetch(int i) const {
    const FdeItem& it = item(i);
    const unsigned n = n_tokens(it);
    // Whole words of tokens: zeros behind the last.
    if (n > 0)
      TileFetcher<T>(job_.shares)
          .fetch(job_.shares, token_row(static_cast<std::size_t>(it.first) + it.begin), job_.stride, job_.dim,
                 n, (n + kWordTokens - 1) / kWordTokens * kWordTokens, job_.pitch, tile(i));
    commit_copies();
  }

  // --- signs

  __device__ __forceinline__ float* lengths(int i) const {
    return shared().lengths[static_cast<unsigned>(i) % kFdeStages];
  }
  /// Words of plane number `plane` of the pass.
  __device__ __forceinline__ std::uint32_t* signs(int i, unsigned plane) const {
    return shared().signs + (static_cast<unsigned>(i) % 2 * job_.pass_reps * job_.k_sim + plane) * kWords;
  }

  /// A bound of the lengths in each group of 8 tokens, as in maxsim_kernel.cuh.
  __device__ __forceinline__ void find_lengths(int i) const {
    const unsigned n = n_tokens(item(i));
    for (unsigned group = warp(); group * kColumns < n; group += warps()) {
      float sums[4] = {}, others[4] = {};  // two chains of products, for their latency
      Operand high, low;
      for (unsigned step = 0; step < job_.n_steps; ++step) {
        TokenOperand<T>::load(tile(i), group * kColumns + lane() / 4, step, lane() % 4, job_.pitch, high,
                              low);
        add_product(sums, make_uint4(high.word[0], 0, high.word[1], 0), high.word[0], high.word[1]);
        add_product(others, make_uint4(high.word[2], 0, high.word[3], 0), high.word[2], high.word[3]);
      }
      const float largest = fmaxf(fmaxf(sums[0] + others[0], sums[1] + others[1]), 0.0f);
      const unsigned bits = __reduce_max_sync(kAllLanes, __float_as_uint(largest));
      if (lane() == 0)
        lengths(i)[group] =
            length_bound(__uint_as_float(bits), TokenOperand<T>::kLow, sqrtf(static_cast<float>(job_.dim)));
    }
  }

  /// Products of 16 rows of an operand with pair number `pair` of groups of 8 tokens.
  template <unsigned kRowTiles, class Rows>
  __device__ __forceinline__ void multiply(const unsigned char* tokens, unsigned pair, Rows rows,
                                           float (&sums)[kRowTiles][2][4]) const {
#pragma unroll
    for (unsigned step = 0; step < kFdeHeldSteps; ++step) {
      if (step >= job_.n_steps) break;
      Operand high[2], low[2];
#pragma unroll
      for (unsigned sub = 0; sub < 2; ++sub)
        TokenOperand<T>::load(tokens, pair * kPairTokens + sub * kColumns + lane() / 4, step, lane() % 4,
                              job_.pitch, high[sub], low[sub]);
#pragma unroll
      for (unsigned half = 0; half < 2; ++half)
#pragma unroll
        for (unsigned m = 0; m < kRowTiles; ++m) {
          const uint4 a = rows(m, step, half);
#pragma unroll
          for (unsigned sub = 0; sub < 2; ++sub) {
            add_product(sums[m][sub], a, high[sub].word[2 * half], high[sub].word[2 * half + 1]);
            if constexpr (TokenOperand<T>::kLow)
              add_product(sums[m][sub], a, low[sub].word[2 * half], low[sub].word[2 * half + 1]);
          }
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
      float sums[1][2][4] = {};
      multiply<1>(
          tile(i), pair,
          [&](unsigned, unsigned step, unsigned half) { return __ldg(operand + (step * 2 + half) * kLanes); },
          sums);
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
            const float product = sums[0][sub][2 * h + v] - facts.z;
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

  // --- sums

  __device__ __forceinline__ static unsigned first_row() {
    return (blockIdx.y * warps() + warp()) * kTiles * kQueryRows;
  }
  /// Repetition of part p of the warp's tile m.
  __device__ __forceinline__ unsigned rep(unsigned m, unsigned p) const {
    return (first_row() + m * kQueryRows + p * kColumns) / job_.d_proj;
  }
  __device__ __forceinline__ bool is_row(unsigned m, unsigned p) const {
    return first_row() + m * kQueryRows + p * kColumns < job_.n_rows;
  }

  __device__ __forceinline__ void load_rows() {
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned step = 0; step < kFdeHeldSteps; ++step)
#pragma unroll
        for (unsigned half = 0; half < 2; ++half)
          rows_[m][step][half] =
              step < job_.n_steps && is_row(m, 0)
                  ? __ldg(job_.tables.row_operand +
                          operand_index(first_row() / kQueryRows + m, job_.n_steps, step, half, lane()))
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
      std::uint32_t read[kWords];
      if constexpr (kWords == 4) {
        const uint4 all = *reinterpret_cast<const uint4*>(sign + b * kWords);
        read[0] = all.x, read[1] = all.y, read[2] = all.z, read[3] = all.w;
      } else {
        const uint2 all = *reinterpret_cast<const uint2*>(sign + b * kWords);
        read[0] = all.x, read[1] = all.y;
      }
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
      for (unsigned m = 0; m < kTiles; ++m) {
#pragma unroll
        for (unsigned c = 0; c < kCellTiles; ++c)
#pragma unroll
          for (unsigned p = 0; p < 2; ++p)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums_[m][c][p][v] = 0;
#pragma unroll
        for (unsigned p = 0; p < kParts; ++p) cells_[m][p].count = 0, cells_[m][p].first = kNoTokenKey;
      }
      shrink_ = 1;
    }
    const bool last = it.begin + kChunk >= it.length, fill = last && job_.fill && it.length > 0;
    if (n > 0) {
#pragma unroll
      for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
        for (unsigned p = 0; p < kParts; ++p) {
          if (!is_row(m, p)) continue;
          Cell& cell = cells_[m][p];
          take_census(i, n, it.begin, rep(m, p), cell);
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
        std::uint32_t turned[kTiles][kParts][2 * kCellTiles];
#pragma unroll
        for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
          for (unsigned p = 0; p < kParts; ++p) {
            Cell& cell = cells_[m][p];
            turn_members(cell.words[0], turned[m][p]);
#pragma unroll
            for (unsigned w = 0; w + 1 < kWords; ++w) cell.words[w] = cell.words[w + 1];
          }
#pragma unroll
        for (unsigned first = 0; first < kSubs; first += 2) {
          const unsigned pair = (word * kSubs + first) / 2;
          if (pair * kPairTokens >= n) break;
          float projected[kTiles][2][4] = {};
          multiply<kTiles>(
              tile(i), pair, [&](unsigned m, unsigned step, unsigned half) { return rows_[m][step][half]; },
              projected);
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m) add_members<0, 2>(m, turned[m], first, projected[m]);
        }
      }
    }
    if (!last) return;
    if (fill && it.begin > 0) fill_from_memory(it);
#ifndef FDE_NO_WRITE
    write(it);
#else
    if (sums_[0][0][0][0] == 12345.0f) write(it);
#endif
  }

  /// Projections that could pass the largest half are taken 2^-8 times, from here to the end of the set.
  __device__ __forceinline__ void shrink(int i, unsigned n) {
    const float length = lane() * kColumns < n && lane() < kGroups ? lengths(i)[lane()] : 0.0f;
    const unsigned longest = __reduce_max_sync(kAllLanes, __float_as_uint(length));
    if (__uint_as_float(longest) < job_.plain_length || shrink_ != 1) return;
    shrink_ = 0x1p-8f;
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned c = 0; c < kCellTiles; ++c)
#pragma unroll
        for (unsigned p = 0; p < 2; ++p)
#pragma unroll
          for (unsigned v = 0; v < 4; ++v) sums_[m][c][p][v] *= shrink_;
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
  /// Coordinates 8 p .. 8 p + 7 of tile m, kFirst <= p < kEnd.
  template <unsigned kFirst, unsigned kEnd>
  __device__ __forceinline__ void add_members(unsigned m,
                                              const std::uint32_t (&turned)[kParts][2 * kCellTiles],
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
        add_product(sums_[m][c][p], a, high[0], high[1]);
        add_product(sums_[m][c][p], a, low[0], low[1]);
      }
    }
  }

  /// Empty cells of a set of several chunks: their tokens are read again, token c for cell c.
  __device__ __forceinline__ void fill_from_memory(const FdeItem& it) {
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned part = 0; part < kParts; ++part) {
        if (!is_row(m, part)) continue;
        const Cell& cell = cells_[m][part];
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
              Operand high, low;
              gather(row, step, high, low);
#pragma unroll
              for (unsigned half = 0; half < 2; ++half) {
                // Not those in registers, whose number would have to be known here.
                const uint4 a =
                    __ldg(job_.tables.row_operand +
                          operand_index(first_row() / kQueryRows + m, job_.n_steps, step, half, lane()));
                add_product(projected[sub], a, high.word[2 * half], high.word[2 * half + 1]);
                if constexpr (TokenOperand<T>::kLow)
                  add_product(projected[sub], a, low.word[2 * half], low.word[2 * half + 1]);
              }
            }
          }
          if (!kHalves)
            add_members<0, 2>(m, turned, first, projected);
          else if (part == 0)
            add_members<0, 1>(m, turned, first, projected);
          else
            add_members<1, 2>(m, turned, first, projected);
        }
      }
  }

  /// A lane's share of a step, from memory.
  __device__ __forceinline__ void gather(const T* row, unsigned step, Operand& high, Operand& low) const {
    const unsigned first = step_coordinate(step, 0, lane() % 4, 0);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      __half h[2], l[2];
#pragma unroll
      for (unsigned v = 0; v < 2; ++v) {
        const unsigned at = first + 2 * i + v;
        split(at < job_.dim ? TokenOperand<T>::widen(row + at, 1.0f) : 0.0f, h[v], l[v]);
      }
      high.word[i] = pack(h[0], h[1]);
      low.word[i] = pack(l[0], l[1]);
    }
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
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned p = 0; p < 2; ++p) {
        if (!is_row(m, p)) continue;
        const unsigned count = cells_[m][kHalves ? p : 0].count;
        const float mean = job_.documents && count > 1 ? __fdiv_rn(1.0f, static_cast<float>(count)) : 1.0f;
        float x[4], y[4];
#pragma unroll
        for (unsigned c = 0; c < 4; ++c) {
          const float share = __shfl_sync(kAllLanes, mean, static_cast<int>(lane() / 4 + 8 * c));
          x[c] = __fmul_rn(sums_[m][c / 2][p][c % 2 * 2] * scale, share);
          y[c] = __fmul_rn(sums_[m][c / 2][p][c % 2 * 2 + 1] * scale, share);
        }
        const unsigned row = first_row() + m * kQueryRows + p * kColumns, repetition = row / job_.d_proj;
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

  const FdeJob& job_;
  unsigned char* tiles_;
  float shrink_;
  uint4 rows_[kTiles][kFdeHeldSteps][2];
  float sums_[kTiles][kCellTiles][2][4];
  Cell cells_[kTiles][kParts];
};

template <class T, bool kHalves, unsigned kTiles>
__global__ void __launch_bounds__(SetProducts<T, kHalves, kTiles>::kMaxWarps* kLanes, 1)
    encode_products(const __grid_constant__ FdeJob job) {
  extern __shared__ uint4 shared[];
  SetProducts<T, kHalves, kTiles>(job, reinterpret_cast<unsigned char*>(shared)).run();
}

}  // namespace whimbrel::cuda
