// The kernel of MaxSim: for every query token and document, the best canonical product.
//
// A block has a panel of query tokens, 16 or 32 for each warp, in registers, and streams token rows through
// shared memory; documents are stretches of that stream and may begin and end anywhere in it. For each query
// token a lane keeps the largest product of its columns, where it was, and the second largest. At the end of
// a document the row of the largest is read again and multiplied in canonical arithmetic; where the second
// is so near that rounding may have hidden the true maximum, all rows of the document are (maxsim_bound.hpp).
#pragma once

#include <cuda_fp16.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lanes.cuh"
#include "maxsim_bound.hpp"
#include "query_panels.cuh"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

/// Products whose magnitude may pass this are left to the canonical arithmetic altogether.
constexpr float kSafeProduct = 1e37f;
constexpr unsigned kHeldSteps = 4;    // of a query token in registers
constexpr unsigned kSubtiles = 2;     // groups of 8 document tokens that are multiplied together
constexpr std::uint32_t kNoEnd = 0xffffffffu;

struct MaxSimJob {
  QueryPanels queries;
  const void* tokens;
  const float* scales;
  std::size_t stride;
  bool aligned;
  const std::int64_t* offsets;
  std::size_t n_docs;
  // Whole matrix: documents [first, last). Lists: entries [first, last).
  std::size_t first, last;
  const std::int64_t* list_offsets;  // null for the whole matrix
  const std::int64_t* list_ids;
  std::size_t n_queries;
  std::size_t n_valid;  // slots with a token, for the whole matrix
  const std::int64_t* query_offsets;
  unsigned pitch;
  std::uint32_t* best;  // (last - first, best_stride), ordered
  std::size_t best_stride;
};

/// Floats as unsigned numbers in the same order; 0 is below all of them.
inline __device__ std::uint32_t ordered(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
inline __device__ float unordered(std::uint32_t x) {
  return __uint_as_float(x >> 31 != 0 ? x & 0x7fffffffu : ~x);
}

template <class T, bool kSplit, unsigned kWarps, bool kLong>
class BestProducts {
 public:
  static constexpr unsigned kThreads = kWarps * kLanes;
  static constexpr unsigned kTerms = kSplit ? 2 : 1;
  static constexpr unsigned kTiles = kSplit ? 1 : 2;  // of 16 query tokens for a warp
  static constexpr unsigned kPanel = kWarps * kTiles * kQueryRows;
  static constexpr unsigned kTile = kLong || kWarps == 1 ? 16 : kWarps < 8 ? 32 : 64;  // tokens
  static constexpr unsigned kMinBlocks = kLong ? 1 : kWarps == 1 ? 12 : kWarps == 2 ? 6 : kWarps == 4 ? 3 : 2;
  static constexpr unsigned kStages = kLong ? 3 : 4;  // tiles in shared memory
  static constexpr bool kScaled = sizeof(T) == 1;
  static_assert(kSplit || !TokenOperand<T>::kLow);

  /// Products in a row that add to one sum.
  static std::size_t n_products(std::size_t n_steps) {
    return 2 * n_steps * (TokenOperand<T>::kLow ? 3 : kTerms);
  }
  static std::size_t shared_bytes(unsigned pitch) {
    return std::size_t{kStages} * kTile * pitch + 2 * (kTile / kColumns) * sizeof(float);
  }

  __device__ BestProducts(const MaxSimJob& job, unsigned char* shared)
      : job_(job),
        tokens_(static_cast<const T*>(job.tokens)),
        tiles_(shared),
        squares_(reinterpret_cast<float*>(shared + kStages * kTile * job.pitch)) {}

  /// The tokens [first, last) with the panel that begins at slot `panel`, of which `valid` slots have a token.
  /// Results go to rows `doc - first_doc` of job.best, at `column`.
  __device__ void stream(std::size_t panel, std::size_t valid, std::size_t first, std::size_t last,
                         std::size_t first_doc, std::size_t column) {
    const std::size_t before = warp() * kTiles * kQueryRows;
    slot_ = panel + before;
    n_rows_ = valid > before ? static_cast<unsigned>(min(valid - before, std::size_t{kTiles * kQueryRows})) : 0;
    column_ = column + before;
    first_ = first;
    n_tokens_ = static_cast<std::uint32_t>(last - first);
    first_doc_ = first_doc;
    doc_ = set_of_token(job_.offsets, job_.n_docs, static_cast<std::int64_t>(first));
    open_doc(0);
    if constexpr (!kLong) load_queries(0);

    const unsigned n_tiles = (n_tokens_ + kTile - 1) / kTile;
    barrier();  // whoever still reads the tiles of an earlier stream
    for (unsigned i = 0; i + 1 < kStages; ++i) fetch(i);
    wait_for_copies<kStages - 2>();
    barrier();
    find_squares(0);
    for (unsigned i = 0; i < n_tiles; ++i) {
      wait_for_copies<kStages - 3>();  // tile i + 1 is there
      barrier();                       // for everybody, and tile i - 1 is done with
      fetch(i + kStages - 1);
      find_squares(i + 1);
      multiply(i);
    }
    wait_for_copies<0>();
  }

 private:
  static __device__ unsigned lane() { return threadIdx.x % kLanes; }
  static __device__ unsigned warp() { return threadIdx.x / kLanes; }
  static __device__ void barrier() {
    if constexpr (kWarps == 1)
      __syncwarp();
    else
      __syncthreads();
  }

  __device__ unsigned char* tile(unsigned i) const { return tiles_ + i % kStages * kTile * job_.pitch; }

  __device__ void fetch(unsigned i) {
    const std::size_t begin = std::size_t{i} * kTile;
    if (begin < n_tokens_)
      fetch_rows(tokens_, job_.stride, job_.queries.dim, job_.aligned, first_ + begin, first_ + n_tokens_, kTile,
                 job_.pitch, tile(i), kThreads);
    commit_copies();
  }

  /// Steps [4 chunk, 4 chunk + 4) of the warp's query tokens.
  __device__ void load_queries(unsigned chunk) {
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned s = 0; s < kHeldSteps; ++s) {
        const unsigned step = chunk * kHeldSteps + s;
        if (step >= job_.queries.n_steps) break;
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const std::size_t at =
              operand_index(slot_ / kQueryRows + m, job_.queries.n_steps, step, half, lane());
          queries_[0][m][s][half] = __ldg(job_.queries.operand + at);
          if constexpr (kSplit) queries_[1][m][s][half] = __ldg(job_.queries.operand_low + at);
        }
      }
  }

  /// For each group of 8 tokens the largest square of their lengths: the product of the group with itself,
  /// whose largest value is on its diagonal. The warps share the groups.
  __device__ void find_squares(unsigned i) {
    if (std::size_t{i} * kTile >= n_tokens_) return;
    for (unsigned j = warp(); j < kTile / kColumns; j += kWarps) {
      float sums[4] = {};
      Operand high, low;
      for (unsigned step = 0; step < job_.queries.n_steps; ++step) {
        TokenOperand<T>::load(tile(i), j * kColumns + lane() / 4, step, lane() % 4, job_.pitch, high, low);
#pragma unroll
        for (unsigned half = 0; half < 2; ++half)
          add_product(sums, make_uint4(high.word[2 * half], 0, high.word[2 * half + 1], 0),
                      high.word[2 * half], high.word[2 * half + 1]);
      }
      if constexpr (kScaled) {
        const std::size_t base = std::size_t{i} * kTile + j * kColumns;
        const float scale = fabsf(scale_of(base + lane() / 4));
        sums[0] *= scale * fabsf(scale_of(base + lane() % 4 * 2));
        sums[1] *= scale * fabsf(scale_of(base + lane() % 4 * 2 + 1));
      }
      // Where a value is not a number a square is infinite or that too; both are large as integers.
      const float largest = fmaxf(fmaxf(sums[0], sums[1]), 0.0f);
      const unsigned bits = __reduce_max_sync(kAllLanes, __float_as_uint(largest));
      if (lane() == 0) squares_[i % 2 * (kTile / kColumns) + j] = __uint_as_float(bits);
    }
  }

  __device__ float scale_of(std::size_t token) const {
    return kScaled && token < n_tokens_ ? __ldg(job_.scales + first_ + token) : 0.0f;
  }

  __device__ void multiply(unsigned i) {
    const std::uint32_t begin = i * kTile;
    for (unsigned j = 0; j < kTile / kColumns; j += kSubtiles) {
      if (begin + j * kColumns >= n_tokens_) break;
      float sums[kSubtiles][kTiles][4] = {};
      if constexpr (kLong) {
        for (unsigned chunk = 0; chunk * kHeldSteps < job_.queries.n_steps; ++chunk) {
          load_queries(chunk);
          add_chunk(i, j, chunk, sums);
        }
      } else {
        add_chunk(i, j, 0, sums);
      }
#pragma unroll
      for (unsigned sub = 0; sub < kSubtiles; ++sub) {
        const std::uint32_t base = begin + (j + sub) * kColumns;
        if (base >= n_tokens_) break;
        if constexpr (kScaled) {
          const float scale[2] = {scale_of(base + lane() % 4 * 2), scale_of(base + lane() % 4 * 2 + 1)};
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums[sub][m][v] *= scale[v % 2];
        }
        take(base, squares_[i % 2 * (kTile / kColumns) + j + sub], sums[sub]);
      }
    }
  }

  __device__ void add_chunk(unsigned i, unsigned j, unsigned chunk, float (&sums)[kSubtiles][kTiles][4]) {
#pragma unroll
    for (unsigned s = 0; s < kHeldSteps; ++s) {
      const unsigned step = chunk * kHeldSteps + s;
      if (step >= job_.queries.n_steps) break;
      Operand high[kSubtiles], low[kSubtiles];
#pragma unroll
      for (unsigned sub = 0; sub < kSubtiles; ++sub)
        TokenOperand<T>::load(tile(i), (j + sub) * kColumns + lane() / 4, step, lane() % 4, job_.pitch,
                              high[sub], low[sub]);
#pragma unroll
      for (unsigned half = 0; half < 2; ++half)
#pragma unroll
        for (unsigned term = 0; term < kTerms; ++term)
#pragma unroll
          for (unsigned sub = 0; sub < kSubtiles; ++sub)
#pragma unroll
            for (unsigned m = 0; m < kTiles; ++m) {
              add_product(sums[sub][m], queries_[term][m][s][half], high[sub].word[2 * half],
                          high[sub].word[2 * half + 1]);
              if constexpr (TokenOperand<T>::kLow)
                if (term == 0)
                  add_product(sums[sub][m], queries_[0][m][s][half], low[sub].word[2 * half],
                              low[sub].word[2 * half + 1]);
            }
    }
  }

  /// The products of 8 tokens, the first of them number `base` of the stream, to their documents.
  __device__ void take(std::uint32_t base, float square, const float (&sums)[kTiles][4]) {
    const std::uint32_t end = base + kColumns;
    for (;;) {
      square_ = fmaxf(square_, square);
      if (doc_begin_ <= base && doc_end_ >= end)
        update<false>(base, sums);
      else
        update<true>(base, sums);
      if (doc_end_ > end) return;
      const std::uint32_t at = doc_end_;
      settle();
      if (at == n_tokens_) return;
      ++doc_;
      open_doc(at);
      if (at == end) return;
    }
  }

  template <bool kMasked>
  __device__ void update(std::uint32_t base, const float (&sums)[kTiles][4]) {
#pragma unroll
    for (unsigned v = 0; v < 2; ++v) {
      const std::uint32_t token = base + lane() % 4 * 2 + v;
      const bool mine = !kMasked || (token >= doc_begin_ && token < doc_end_);
#pragma unroll
      for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
        for (unsigned h = 0; h < 2; ++h) {
          const float x = mine ? sums[m][2 * h + v] : -INFINITY;
          State& s = state_[m][h];
          s.at = x > s.best ? token : s.at;
          s.second = fmaxf(s.second, fminf(s.best, x));
          s.best = fmaxf(s.best, x);
        }
    }
  }

  /// The document that has token `at` of the stream begins there, as far as this block is concerned.
  __device__ void open_doc(std::uint32_t at) {
    const auto token = static_cast<std::int64_t>(first_ + at);
    std::int64_t end = __ldg(job_.offsets + doc_ + 1);
    while (end <= token) end = __ldg(job_.offsets + ++doc_ + 1);
    const std::int64_t rest = end - static_cast<std::int64_t>(first_);
    doc_begin_ = at;
    doc_end_ = rest < static_cast<std::int64_t>(n_tokens_) ? static_cast<std::uint32_t>(rest) : n_tokens_;
    whole_ = rest <= static_cast<std::int64_t>(n_tokens_) && (at > 0 || __ldg(job_.offsets + doc_) == token);
    square_ = 0;
    for (unsigned m = 0; m < kTiles; ++m)
      for (unsigned h = 0; h < 2; ++h) state_[m][h] = {-INFINITY, -INFINITY, at};
  }

  /// The document is complete: certify, compute again, write.
  __device__ void settle() {
    const float length = length_bound(square_, TokenOperand<T>::kLow, sqrtf(static_cast<float>(job_.queries.dim)));
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        const unsigned group = m * kQueryRows + h * 8;  // 8 query tokens, one for each four lanes
        if (group >= n_rows_) return;
        State s = state_[m][h];
#pragma unroll
        for (unsigned step = 1; step < 4; step *= 2) {
          const float best = __shfl_xor_sync(kAllLanes, s.best, step);
          const float second = __shfl_xor_sync(kAllLanes, s.second, step);
          const std::uint32_t at = __shfl_xor_sync(kAllLanes, s.at, step);
          s.second = fmaxf(fmaxf(s.second, second), fminf(s.best, best));
          s.at = best > s.best ? at : s.at;
          s.best = fmaxf(s.best, best);
        }
        const unsigned mine = group + lane() / 4;
        const float4 facts = __ldg(job_.queries.facts + slot_ + mine);
        const float near = s.best - (facts.x * length + facts.y);
        // Not so if the bound is not a number. With a query token of zeros all products are zero.
        const bool certain =
            mine >= n_rows_ || facts.z == 0 || (s.second < near && facts.z * length < kSafeProduct);
        float product = best_product(group, s.at);
        for (unsigned doubtful = __ballot_sync(kAllLanes, !certain); doubtful != 0;) {
          const unsigned g = (__ffs(static_cast<int>(doubtful)) - 1) / 4;
          doubtful &= ~(0xfu << 4 * g);
          const float exhaustive = scan_document(group + g);
          if (lane() / 4 == g) product = exhaustive;
        }
        if (lane() % 4 == 0 && mine < n_rows_) {
          std::uint32_t* out = job_.best + (doc_ - first_doc_) * job_.best_stride + column_ + mine;
          if (whole_)
            *out = ordered(product);
          else
            atomicMax(out, ordered(product));
        }
      }
  }

  /// Canonical products of eight query tokens, each with its own document token; those of token `group + g`
  /// in the lanes 4 g .. 4 g + 3. `at`: of the lanes' own.
  __device__ float best_product(unsigned group, std::uint32_t at) const {
    float sums[8] = {};
    std::uint32_t token[8];
#pragma unroll
    for (unsigned g = 0; g < 8; ++g) token[g] = __shfl_sync(kAllLanes, at, static_cast<int>(4 * g));
    const float* query = job_.queries.rows + (slot_ + group) * job_.queries.dim;
    const T* rows = tokens_ + first_ * job_.stride;
#pragma unroll 1
    for (std::size_t i = lane(); i < job_.queries.dim; i += kLanes)
#pragma unroll
      for (unsigned g = 0; g < 8; ++g)
        sums[g] = Ip::add(sums[g], __ldg(query + g * job_.queries.dim + i),
                          TokenOperand<T>::widen(rows + token[g] * job_.stride + i, scale_of(token[g])));
    return fold(sums);
  }

  /// The largest canonical product of a query token with the document.
  __device__ float scan_document(unsigned index) const {
    const float* query = job_.queries.rows + (slot_ + index) * job_.queries.dim;
    const T* rows = tokens_ + first_ * job_.stride;
    float largest = -INFINITY;
#pragma unroll 1
    for (std::uint32_t begin = doc_begin_; begin < doc_end_; begin += 8) {
      float sums[8] = {};
#pragma unroll 1
      for (std::size_t i = lane(); i < job_.queries.dim; i += kLanes)
#pragma unroll
        for (unsigned g = 0; g < 8; ++g) {
          const std::uint32_t token = min(begin + g, doc_end_ - 1);  // past the end the last row again
          sums[g] = Ip::add(sums[g], __ldg(query + i),
                            TokenOperand<T>::widen(rows + token * job_.stride + i, scale_of(token)));
        }
      largest = fmaxf(largest, fold(sums));  // which drops what is not a number
    }
#pragma unroll
    for (unsigned half = 16; half >= 4; half /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, half));
    return largest;
  }

  /// The fold of lanes.cuh for eight sums at once: sum g ends in lanes 4 g .. 4 g + 3. In each of the first
  /// three steps a lane gives away half of its sums and adds the other lane's share to the rest.
  static __device__ float fold(float (&sums)[8]) {
#pragma unroll
    for (unsigned half = 16, n = 4; n > 0; half /= 2, n /= 2) {
      const bool upper = (lane() & half) != 0;
#pragma unroll
      for (unsigned g = 0; g < n; ++g) {
        const float keep = upper ? sums[g + n] : sums[g];
        const float give = upper ? sums[g] : sums[g + n];
        sums[g] = __fadd_rn(keep, __shfl_xor_sync(kAllLanes, give, half));
      }
    }
    sums[0] = __fadd_rn(sums[0], __shfl_xor_sync(kAllLanes, sums[0], 2));
    return __fadd_rn(sums[0], __shfl_xor_sync(kAllLanes, sums[0], 1));
  }

  struct State {
    float best, second;
    std::uint32_t at;
  };

  const MaxSimJob& job_;
  const T* tokens_;
  unsigned char* tiles_;
  float* squares_;  // two tiles' groups
  std::size_t slot_, first_, first_doc_, doc_, column_;
  unsigned n_rows_;
  std::uint32_t n_tokens_, doc_begin_, doc_end_;
  bool whole_;
  float square_;
  State state_[kTiles][2];
  uint4 queries_[kTerms][kTiles][kHeldSteps][2];
};

template <class T, bool kSplit, unsigned kWarps, bool kLong>
__global__ void __launch_bounds__(BestProducts<T, kSplit, kWarps, kLong>::kThreads,
                                  BestProducts<T, kSplit, kWarps, kLong>::kMinBlocks)
    best_products(const __grid_constant__ MaxSimJob job) {
  using Worker = BestProducts<T, kSplit, kWarps, kLong>;
  extern __shared__ uint4 shared[];
  Worker worker(job, reinterpret_cast<unsigned char*>(shared));
  if (job.list_offsets == nullptr) {
    const auto first = static_cast<std::size_t>(job.offsets[job.first]);
    const auto last = static_cast<std::size_t>(job.offsets[job.last]);
    const TokenRange part = token_part(first, last, blockIdx.y, gridDim.y, Worker::kTile);
    const std::size_t panel = std::size_t{blockIdx.x} * Worker::kPanel;
    if (part.first < part.last)
      worker.stream(panel, job.n_valid - panel, part.first, part.last, job.first, panel);
    return;
  }
  for (std::size_t entry = job.first + blockIdx.x; entry < job.last; entry += gridDim.x) {
    const std::int64_t id = job.list_ids[entry];
    if (id < 0 || job.offsets[id] == job.offsets[id + 1]) continue;
    const std::size_t query =
        set_of_token(job.list_offsets, job.n_queries, static_cast<std::int64_t>(entry));
    const auto length = static_cast<std::size_t>(job.query_offsets[query + 1] - job.query_offsets[query]);
    for (std::size_t panel = 0; panel < length; panel += Worker::kPanel)
      worker.stream(query * job.queries.slots_per_query + panel, length - panel,
                    static_cast<std::size_t>(job.offsets[id]), static_cast<std::size_t>(job.offsets[id + 1]),
                    static_cast<std::size_t>(id) - (entry - job.first), panel);
  }
}

}  // namespace whimbrel::cuda
