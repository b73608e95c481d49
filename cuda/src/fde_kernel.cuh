// The general kernel of the encoder (fde_product_kernel.cuh has the one for the usual parameters): tokens of
// one set after another through shared memory, in chunks. For each chunk the cells of its tokens in every
// repetition, then their projections, added to the sums of their cells; at the end of the set means, empty
// cells, output.
//
// A warp owns 16 coordinates of the encoding's blocks (rows: repetition by repetition, d_proj each) and keeps
// their projection in registers. Sets with more rows than a block has warps for are gone through again.
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

/// Column n of a group of 8 holds token (n % 2) * 4 + n / 2 of it, so that a lane's two columns are tokens t
/// and 4 + t, and lanes t = 0..3 have tokens in order.
WHIMBREL_HOST_DEVICE constexpr unsigned column_token(unsigned column) { return column % 2 * 4 + column / 2; }

constexpr unsigned kNoRank = 255;

template <class T>
class SetEncoder {
 public:
  __device__ SetEncoder(const FdeJob& job, unsigned char* shared)
      : job_(job), fetcher_(job.shares), shared_(shared), at_(job, blockDim.x / kLanes) {}

  __device__ void run() {
    Item item = {job_.first + blockIdx.x, 0, 0, 0, 0};
    open(item);
    fetch(item, 0);
    commit_copies();
    for (unsigned buffer = 0; item.set < job_.last; buffer ^= 1) {
      Item next = item;
      advance(next);
      if (next.set < job_.last) fetch(next, buffer ^ 1);
      commit_copies();
      if (item.begin == 0) start_set();
      clear_cells();
      wait_for_copies<1>();
      __syncthreads();
      process(item, buffer);
      item = next;
    }
  }

 private:
  /// A chunk of a set, in one pass over it.
  struct Item {
    std::size_t set;
    unsigned pass;
    std::uint32_t begin, length;  // of the chunk; of the set
    std::size_t first;            // token row of the set
  };

  static __device__ unsigned lane() { return threadIdx.x % kLanes; }
  static __device__ unsigned warp() { return threadIdx.x / kLanes; }
  static __device__ unsigned warps() { return blockDim.x / kLanes; }

  __device__ void open(Item& item) const {
    if (item.set >= job_.last) return;
    const std::int64_t first = __ldg(job_.offsets + item.set);
    item.first = static_cast<std::size_t>(first);
    item.length = static_cast<std::uint32_t>(__ldg(job_.offsets + item.set + 1) - first);
  }
  __device__ bool is_last_chunk(const Item& item) const { return item.begin + job_.chunk >= item.length; }
  __device__ void advance(Item& item) const {
    if (!is_last_chunk(item)) {
      item.begin += job_.chunk;
      return;
    }
    item.begin = 0;
    if ((item.pass + 1) * warps() < job_.n_tiles) {
      ++item.pass;
      return;
    }
    item.pass = 0;
    item.set += gridDim.x;
    open(item);
  }

  __device__ unsigned char* tile(unsigned buffer) const {
    return shared_ + at_.tiles + buffer * job_.chunk * job_.pitch;
  }
  template <class V>
  __device__ V* array(unsigned at) const {
    return reinterpret_cast<V*>(shared_ + at);
  }

  __device__ void fetch(const Item& item, unsigned buffer) const {
    if (item.set >= job_.last) return;
    fetcher_.fetch(job_.shares, tokens() + (item.first + item.begin) * job_.stride, job_.stride, job_.dim,
                   item.length - item.begin, job_.chunk, job_.pitch, tile(buffer));
  }
  __device__ const T* tokens() const { return static_cast<const T*>(job_.tokens); }

  __device__ unsigned first_row(const Item& item) const { return item.pass * warps() * kQueryRows; }
  __device__ unsigned end_row(const Item& item) const {
    return min(first_row(item) + warps() * kQueryRows, job_.n_rows);
  }
  __device__ unsigned first_rep(const Item& item) const { return first_row(item) / job_.d_proj; }
  __device__ unsigned end_rep(const Item& item) const { return (end_row(item) - 1) / job_.d_proj + 1; }

  /// Sums begin at -0, which a sum never is again: the first token of a cell is known by it.
  __device__ void start_set() {
    for (unsigned i = threadIdx.x; i < job_.n_cells * at_.row_stride; i += blockDim.x)
      array<float>(at_.sums)[i] = -0.0f;
    for (unsigned i = threadIdx.x; i < job_.pass_reps * job_.n_cells; i += blockDim.x) {
      array<std::uint32_t>(at_.counts)[i] = 0;
      if (job_.documents) array<std::uint32_t>(at_.first_tokens)[i] = kNoToken;
    }
  }
  __device__ void clear_cells() {
    for (unsigned i = threadIdx.x; i < job_.pass_reps * kFdeMaxChunk; i += blockDim.x)
      array<std::uint32_t>(at_.cells)[i] = 0;
    if (threadIdx.x == 0) *array<std::uint32_t>(at_.doubts) = 0;
  }

  __device__ void process(const Item& item, unsigned buffer) {
    const unsigned n = min(job_.chunk, item.length - item.begin);
    if (n > 0) {
      find_squares(n, buffer);
      __syncthreads();
      find_cells(item, n, buffer);
      __syncthreads();
      settle_doubts(item);
      __syncthreads();
      load_rows(item, 0);  // on their way meanwhile; held from here on only, as the signs need registers
      take_census(item, n);
      __syncthreads();
      project(item, n, buffer);
    }
    if (is_last_chunk(item)) {
      __syncthreads();
      if (job_.fill && item.length > 0) {
        fill(item);
        __syncthreads();
      }
      write(item);
    }
    __syncthreads();
  }

  /// Largest squared length in each group of 8 tokens, as in maxsim_kernel.cuh.
  __device__ void find_squares(unsigned n, unsigned buffer) {
    for (unsigned group = warp(); group * kColumns < n; group += warps()) {
      float sums[4] = {}, others[4] = {};  // two chains of products, for their latency
      Operand high, low;
      for (unsigned step = 0; step < job_.n_steps; ++step) {
        TokenOperand<T>::load(tile(buffer), group * kColumns + lane() / 4, step, lane() % 4, job_.pitch, high,
                              low);
        add_product(sums, make_uint4(high.word[0], 0, high.word[1], 0), high.word[0], high.word[1]);
        add_product(others, make_uint4(high.word[2], 0, high.word[3], 0), high.word[2], high.word[3]);
      }
      sums[0] += others[0];
      sums[1] += others[1];
      const float largest = fmaxf(fmaxf(sums[0], sums[1]), 0.0f);
      const unsigned bits = __reduce_max_sync(kAllLanes, __float_as_uint(largest));
      if (lane() == 0) array<float>(at_.squares)[group] = __uint_as_float(bits);
    }
  }

  /// Products of 16 rows of an operand with the two groups of tokens from `group` on.
  template <class LoadRows>
  __device__ void multiply(unsigned group, unsigned buffer, LoadRows rows, float (&sums)[2][4]) {
    for (unsigned base = 0; base < job_.n_steps; base += kFdeHeldSteps) {
#pragma unroll
      for (unsigned s = 0; s < kFdeHeldSteps; ++s) {
        if (base + s >= job_.n_steps) break;
        Operand high[2], low[2];
#pragma unroll
        for (unsigned sub = 0; sub < 2; ++sub)
          TokenOperand<T>::load(tile(buffer), (group + sub) * kColumns + column_token(lane() / 4), base + s,
                                lane() % 4, job_.pitch, high[sub], low[sub]);
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const uint4 a = rows(base, s, half);
#pragma unroll
          for (unsigned sub = 0; sub < 2; ++sub) {
            add_product(sums[sub], a, high[sub].word[2 * half], high[sub].word[2 * half + 1]);
            if constexpr (TokenOperand<T>::kLow)
              add_product(sums[sub], a, low[sub].word[2 * half], low[sub].word[2 * half + 1]);
          }
        }
      }
    }
  }

  __device__ void find_cells(const Item& item, unsigned n, unsigned buffer) {
    if (job_.k_sim == 0) return;
    const unsigned first_tile = first_rep(item) * job_.k_sim / kQueryRows;
    const unsigned end_tile = (end_rep(item) * job_.k_sim - 1) / kQueryRows + 1;
    const unsigned n_pairs = (n + 2 * kColumns - 1) / (2 * kColumns);
    for (unsigned unit = warp(); unit < (end_tile - first_tile) * n_pairs; unit += warps()) {
      const unsigned plane_tile = first_tile + unit / n_pairs, group = unit % n_pairs * 2;
      float sums[2][4] = {};
      multiply(
          group, buffer,
          [&](unsigned base, unsigned s, unsigned half) {
            return __ldg(job_.tables.plane_operand +
                         operand_index(plane_tile, job_.n_steps, base + s, half, lane()));
          },
          sums);
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        const unsigned plane = plane_tile * kQueryRows + lane() / 4 + 8 * h, rep = plane / job_.k_sim;
        const bool mine = rep >= first_rep(item) && rep < end_rep(item);
        const unsigned bit = plane_bit(plane);
        const float4 facts = mine ? __ldg(reinterpret_cast<const float4*>(job_.tables.plane_facts + plane))
                                  : make_float4(0, 0, 0, 0);
        for (unsigned sub = 0; sub < 2; ++sub) {
          const float length = length_bound(array<float>(at_.squares)[group + sub], TokenOperand<T>::kLow,
                                            sqrtf(static_cast<float>(job_.dim)));
          const float bound = facts.x * (length + job_.tables.center_norm) + facts.y;
#pragma unroll
          for (unsigned v = 0; v < 2; ++v) {
            const unsigned token = (group + sub) * kColumns + v * 4 + lane() % 4;
            const float product = sums[sub][2 * h + v] - facts.z;
            const bool valid = mine && token < n;
            const bool doubtful = valid && !(fabsf(product) > bound);
            if (valid && !doubtful && product > 0) set_bit(item, rep, token, bit);
            bool waits = false;
            if (doubtful) {
              const std::uint32_t place = atomicAdd(array<std::uint32_t>(at_.doubts), 1u);
              waits = place < kFdeMaxDoubts;
              if (waits) {
                array<std::uint32_t>(at_.doubts)[1 + 2 * place] = plane;
                array<std::uint32_t>(at_.doubts)[2 + 2 * place] = token;
              }
            }
            for (unsigned left = __ballot_sync(kAllLanes, doubtful && !waits); left != 0; left &= left - 1) {
              const int from = __ffs(static_cast<int>(left)) - 1;
              settle(item, __shfl_sync(kAllLanes, plane, from), __shfl_sync(kAllLanes, token, from));
            }
          }
        }
      }
    }
  }

  __device__ void settle_doubts(const Item& item) {
    const std::uint32_t* doubts = array<std::uint32_t>(at_.doubts);
    const unsigned n = min(doubts[0], kFdeMaxDoubts);
    for (unsigned i = warp(); i < n; i += warps()) settle(item, doubts[1 + 2 * i], doubts[2 + 2 * i]);
  }
  __device__ void settle(const Item& item, unsigned plane, unsigned token) {
    if (canonical_sign(item.first + item.begin + token, plane) && lane() == 0)
      set_bit(item, plane / job_.k_sim, token, plane_bit(plane));
  }
  __device__ unsigned plane_bit(unsigned plane) const { return 1u << (job_.k_sim - 1 - plane % job_.k_sim); }

  __device__ void set_bit(const Item& item, unsigned rep, unsigned token, unsigned bit) {
    atomicOr(array<std::uint32_t>(at_.cells) + (rep - first_rep(item)) * kFdeMaxChunk + token, bit);
  }

  __device__ bool canonical_sign(std::size_t token, unsigned plane) const {
    const T* x = tokens() + token * job_.stride;
    const float* g = job_.tables.planes + std::size_t{plane} * job_.dim;
    float sum = 0;
#pragma unroll 2
    for (unsigned i = lane(); i < job_.dim; i += kLanes) {
      float value = TokenOperand<T>::widen(x + i, 1.0f);
      if (job_.tables.center != nullptr) value = __fsub_rn(value, __ldg(job_.tables.center + i));
      sum = Ip::add(sum, value, __ldg(g + i));
    }
    for (unsigned half = kLanes / 2; half > 0; half /= 2)
      sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, half));
    return sum > 0;
  }

  /// Count tokens and find the first of each cell. A token also gets its rank among those of its group of
  /// four that have the same cell.
  __device__ void take_census(const Item& item, unsigned n) {
    const unsigned n_reps = end_rep(item) - first_rep(item);
    for (unsigned i = threadIdx.x; i < n_reps * kFdeMaxChunk; i += blockDim.x) {
      const unsigned rep = i / kFdeMaxChunk, token = i % kFdeMaxChunk;
      if (token >= n) continue;
      const std::uint32_t* cells = array<std::uint32_t>(at_.cells) + rep * kFdeMaxChunk;
      const std::uint32_t cell = cells[token];
      unsigned rank = 0;
      for (unsigned other = token / 4 * 4; other < token; ++other) rank += cells[other] == cell;
      array<unsigned char>(at_.ranks)[i] = static_cast<unsigned char>(rank);
      atomicAdd(array<std::uint32_t>(at_.counts) + rep * job_.n_cells + cell, 1u);
      if (job_.documents)
        atomicMin(array<std::uint32_t>(at_.first_tokens) + rep * job_.n_cells + cell, item.begin + token);
      if (job_.partitions != nullptr)
        job_.partitions[(first_rep(item) + rep) * job_.n_tokens + item.first + item.begin + token] =
            job_.gray ? gray_number(cell) : cell;
    }
  }

  __device__ unsigned row_tile(const Item& item) const { return item.pass * warps() + warp(); }
  __device__ void load_rows(const Item& item, unsigned base) {
    if (row_tile(item) >= job_.n_tiles) return;
#pragma unroll
    for (unsigned s = 0; s < kFdeHeldSteps; ++s) {
      if (base + s >= job_.n_steps) break;
#pragma unroll
      for (unsigned half = 0; half < 2; ++half)
        rows_[s][half] = __ldg(job_.tables.row_operand +
                               operand_index(row_tile(item), job_.n_steps, base + s, half, lane()));
    }
  }

  __device__ void project(const Item& item, unsigned n, unsigned buffer) {
    if (row_tile(item) >= job_.n_tiles) return;
    unsigned row[2], rep[2];
#pragma unroll
    for (unsigned h = 0; h < 2; ++h) {
      row[h] = warp() * kQueryRows + lane() / 4 + 8 * h;
      rep[h] = (first_row(item) + row[h]) / job_.d_proj - first_rep(item);
    }
    for (unsigned group = 0; group * kColumns < n; group += 2) {
      float sums[2][4] = {};
      const bool held = job_.n_steps <= kFdeHeldSteps;
      multiply(
          group, buffer,
          [&](unsigned base, unsigned s, unsigned half) {
            if (!held && s == 0 && half == 0) load_rows(item, base);
            return rows_[s][half];
          },
          sums);
#pragma unroll
      for (unsigned sub = 0; sub < 2; ++sub)
#pragma unroll
        for (unsigned v = 0; v < 2; ++v) {
          const unsigned token = (group + sub) * kColumns + v * 4 + lane() % 4;
          std::uint32_t cell[2];
          unsigned rank[2];
#pragma unroll
          for (unsigned h = 0; h < 2; ++h) {
            const bool valid = token < n && first_row(item) + row[h] < job_.n_rows;
            const unsigned at = rep[h] * kFdeMaxChunk + token;
            cell[h] = valid ? array<std::uint32_t>(at_.cells)[at] : 0;
            rank[h] = valid ? array<unsigned char>(at_.ranks)[at] : kNoRank;
          }
          // Tokens of one cell one after another, the others at the same time.
          for (unsigned round = 0;; ++round) {
            bool more = false;
#pragma unroll
            for (unsigned h = 0; h < 2; ++h) {
              if (rank[h] == round) add(cell[h], row[h], sums[sub][2 * h + v]);
              more = more || (rank[h] != kNoRank && rank[h] > round);
            }
            __syncwarp();
            if (__ballot_sync(kAllLanes, more) == 0) break;
          }
        }
    }
  }

  __device__ void add(unsigned cell, unsigned row, float value) {
    if (job_.tables.row_scale != 1) value = __fmul_rn(value, job_.tables.row_scale);
    float& sum = array<float>(at_.sums)[cell * at_.row_stride + row];
    if (job_.documents && __float_as_uint(sum) == 0x80000000u)
      array<float>(at_.firsts)[cell * at_.row_stride + row] = value;
    sum = __fadd_rn(sum, value);
  }

  /// For every cell the occupied cell whose first token is nearest: breadth first over the cube of bit
  /// patterns, as in cpp/src/fde/cells.cpp. nearest: its level in the upper half, the cell in the lower.
  __device__ void fill(const Item& item) {
    for (unsigned rep = warp(); rep < end_rep(item) - first_rep(item); rep += warps()) {
      std::uint32_t* first = array<std::uint32_t>(at_.first_tokens) + rep * job_.n_cells;
      std::uint32_t* nearest = array<std::uint32_t>(at_.nearest) + rep * job_.n_cells;
      for (unsigned cell = lane(); cell < job_.n_cells; cell += kLanes)
        nearest[cell] = first[cell] == kNoToken ? kNoToken : cell;
      __syncwarp();
      for (unsigned level = 1; level <= job_.k_sim; ++level) {
        bool unreached = false;
        for (unsigned cell = lane(); cell < job_.n_cells; cell += kLanes) {
          if (nearest[cell] != kNoToken) continue;
          std::uint32_t token = kNoToken, from = 0;
          for (unsigned j = 0; j < job_.k_sim; ++j) {
            const unsigned neighbor = cell ^ (1u << j);
            if (nearest[neighbor] >> 16 == level - 1 && first[neighbor] < token) {
              token = first[neighbor];
              from = nearest[neighbor] & 0xffffu;
            }
          }
          if (token == kNoToken) {
            unreached = true;
          } else {
            first[cell] = token;
            nearest[cell] = level << 16 | from;
          }
        }
        __syncwarp();
        if (__ballot_sync(kAllLanes, unreached) == 0) break;
      }
    }
  }

  __device__ void write(const Item& item) {
    // A cell's coordinates for each 2^shift lanes, two for a lane at a time.
    unsigned shift = 0;
    while ((2u << shift) < job_.d_proj && shift < 5) ++shift;
    const unsigned per_warp = kLanes >> shift;
    const std::size_t length = std::size_t{job_.n_rows} * job_.n_cells;
    const std::size_t base = (item.set - job_.first) * length;
    const unsigned n_reps = end_rep(item) - first_rep(item), n_units = n_reps * job_.n_cells;
    for (unsigned unit = warp() * per_warp + (lane() >> shift); unit < n_units; unit += warps() * per_warp) {
      const unsigned rep = unit >> job_.k_sim, cell = unit & (job_.n_cells - 1);
      const std::uint32_t count = array<std::uint32_t>(at_.counts)[unit];
      const float share = job_.documents && count > 1 ? __fdiv_rn(1.0f, static_cast<float>(count)) : 1.0f;
      const bool filled = count == 0 && job_.fill && item.length > 0;
      const unsigned source = filled ? array<std::uint32_t>(at_.nearest)[unit] & 0xffffu : cell;
      const float* values = array<float>(filled ? at_.firsts : at_.sums) + source * at_.row_stride;
      const unsigned number = job_.gray ? gray_number(cell) : cell;
      const unsigned global_rep = first_rep(item) + rep;
      const std::size_t out = base + (std::size_t{global_rep} * job_.n_cells + number) * job_.d_proj;
      for (unsigned c = (lane() & ((1u << shift) - 1)) * 2; c < job_.d_proj; c += 2u << shift) {
        // Rows of a repetition may belong to the pass before or after; those before wrap around.
        const unsigned row = global_rep * job_.d_proj + c - first_row(item),
                       n_rows = end_row(item) - first_row(item);
        float value[2];
#pragma unroll
        for (unsigned v = 0; v < 2; ++v)
          value[v] = (count == 0 && !filled) || row + v >= n_rows ? 0.0f : __fmul_rn(values[row + v], share);
        if (job_.d_proj % 2 == 0) {  // then both belong to the pass, or neither
          if (row >= n_rows) continue;
          if (job_.f32 != nullptr)
            *reinterpret_cast<float2*>(job_.f32 + out + c) = make_float2(value[0], value[1]);
          if (job_.f16 != nullptr)
            *reinterpret_cast<__half2*>(job_.f16 + out + c) = __floats2half2_rn(value[0], value[1]);
          continue;
        }
        for (unsigned v = 0; v < 2 && c + v < job_.d_proj; ++v) {
          if (row + v >= n_rows) continue;
          if (job_.f32 != nullptr) job_.f32[out + c + v] = value[v];
          if (job_.f16 != nullptr) job_.f16[out + c + v] = __float2half_rn(value[v]);
        }
      }
    }
  }

  const FdeJob& job_;
  TileFetcher<T> fetcher_;
  unsigned char* shared_;
  FdeShared at_;
  uint4 rows_[kFdeHeldSteps][2];
};

template <class T>
__global__ void __launch_bounds__(kFdeMaxWarps* kLanes, 1) encode_sets(const __grid_constant__ FdeJob job) {
  extern __shared__ uint4 shared[];
  SetEncoder<T>(job, reinterpret_cast<unsigned char*>(shared)).run();
}

}  // namespace whimbrel::cuda
