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
#include "maxsim_job.cuh"
#include "query_panels.cuh"
#include "token_layout.hpp"
#include "token_operand.cuh"

namespace whimbrel::cuda {

/// Products whose magnitude may pass this are left to the canonical arithmetic altogether.
constexpr float kSafeProduct = 1e37f;
constexpr unsigned kSubtiles = 2;  // groups of 8 document tokens that are multiplied together
constexpr std::uint32_t kNoEnd = 0xffffffffu;

/// @tparam kSteps  of a query token in registers; kLong: at a time, else all there are
template <class T, bool kSplit, unsigned kWarps, unsigned kSteps, bool kLong>
class BestProducts {
 public:
  static constexpr unsigned kThreads = kWarps * kLanes;
  static constexpr unsigned kTerms = kSplit ? 2 : 1;
  static constexpr unsigned kTiles = kSplit ? 1 : 2;  // of 16 query tokens for a warp
  static constexpr unsigned kPanel = kWarps * kTiles * kQueryRows;
  static constexpr unsigned kTile = kLong || kWarps == 1 ? 16 : kWarps == 2 ? 32 : 64;  // tokens
  // As many as leave registers enough that nothing is spilled.
  static constexpr unsigned kMinBlocks = kLong ? 1 : kWarps == 1 ? 11 : kWarps == 2 ? 5 : 3;
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
        fetcher_(job.shares),
        tiles_(shared),
        squares_(reinterpret_cast<float*>(shared + kStages * kTile * job.pitch)) {}

  /// What a block does at a time: the panel of query tokens that begins at `slot`, of which `valid` slots
  /// have a token, with the document tokens [first, last). Results go to rows `doc - first_doc` of job.best,
  /// from `column` on.
  struct Work {
    unsigned slot, column;
    std::size_t valid, first, last;
    std::uint32_t first_doc;
  };
  __device__ void open(const Work& work) {
    const unsigned before = warp() * kTiles * kQueryRows;
    slot_ = work.slot + before;
    n_rows_ = work.valid > before
                  ? static_cast<unsigned>(min(work.valid - before, std::size_t{kTiles} * kQueryRows))
                  : 0;
    column_ = work.column + before;
    first_ = work.first;
    n_tokens_ = static_cast<std::uint32_t>(work.last - work.first);
    first_doc_ = work.first_doc;
  }

  __device__ void stream() {
    if (n_tokens_ == 0) return;
    const auto first = static_cast<std::int64_t>(first_);
    doc_ = static_cast<std::uint32_t>(set_of_token(job_.offsets, job_.n_docs, first));
    next_end_ = end_of(doc_);
    open_doc(0);
    whole_ = whole_ && job_.offsets[doc_] == first;
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
      if (n_rows_ > 0) multiply(i);
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

  /// Of the stream.
  __device__ const T* token_rows() const { return static_cast<const T*>(job_.tokens) + first_ * job_.stride; }
  __device__ unsigned n_steps() const { return kLong ? static_cast<unsigned>(job_.queries.n_steps) : kSteps; }
  __device__ unsigned char* tile(unsigned i) const { return tiles_ + i % kStages * kTile * job_.pitch; }

  __device__ void fetch(unsigned i) {
    const std::uint32_t begin = i * kTile;
    if (begin < n_tokens_)
      fetcher_.fetch(job_.shares, token_rows() + begin * job_.stride, job_.stride,
                     static_cast<unsigned>(job_.queries.dim), n_tokens_ - begin, kTile, job_.pitch, tile(i));
    commit_copies();
  }

  /// Steps [kSteps chunk, kSteps (chunk + 1)) of the warp's query tokens.
  __device__ void load_queries(unsigned chunk) {
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned s = 0; s < kSteps; ++s)
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const std::size_t at =
              operand_index(slot_ / kQueryRows + m, job_.queries.n_steps, chunk * kSteps + s, half, lane());
          queries_[0][m][s][half] = __ldg(job_.queries.operand + at);
          if constexpr (kSplit) queries_[1][m][s][half] = __ldg(job_.queries.operand_low + at);
        }
  }

  /// For each group of 8 tokens the largest square of their lengths: the product of the group with itself,
  /// whose largest value is on its diagonal. The warps share the groups.
  __device__ void find_squares(unsigned i) {
    if (i * kTile >= n_tokens_) return;
    for (unsigned j = warp(); j < kTile / kColumns; j += kWarps) {
      float sums[4] = {}, others[4] = {};  // two chains of products, for their latency
      Operand high, low;
#pragma unroll kSteps
      for (unsigned step = 0; step < n_steps(); ++step) {
        TokenOperand<T>::load(tile(i), j * kColumns + lane() / 4, step, lane() % 4, job_.pitch, high, low);
        add_product(sums, make_uint4(high.word[0], 0, high.word[1], 0), high.word[0], high.word[1]);
        add_product(others, make_uint4(high.word[2], 0, high.word[3], 0), high.word[2], high.word[3]);
      }
      sums[0] += others[0];
      sums[1] += others[1];
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
        for (unsigned chunk = 0; chunk * kSteps < n_steps(); ++chunk) {
          load_queries(chunk);
          add_chunk(i, j, chunk, sums);
        }
      } else {
        add_chunk(i, j, 0, sums);
      }
      // Not unrolled, since the end of a document is a long piece of code.
#pragma unroll 1
      for (unsigned sub = 0; sub < kSubtiles; ++sub) {
        const std::uint32_t base = begin + (j + sub) * kColumns;
        if (base >= n_tokens_) break;
        if (sub > 0)
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums[0][m][v] = sums[1][m][v];
        if constexpr (kScaled) {
          const float scale[2] = {scale_of(base + lane() % 4 * 2), scale_of(base + lane() % 4 * 2 + 1)};
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums[0][m][v] *= scale[v % 2];
        }
        take(base, squares_[i % 2 * (kTile / kColumns) + j + sub], sums[0]);
      }
    }
  }

  __device__ void add_chunk(unsigned i, unsigned j, unsigned chunk, float (&sums)[kSubtiles][kTiles][4]) {
#pragma unroll
    for (unsigned s = 0; s < kSteps; ++s) {
      const unsigned step = chunk * kSteps + s;
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

  /// In the stream; far behind its end all ends are alike.
  __device__ std::uint32_t end_of(std::uint32_t doc) const {
    const std::int64_t end = __ldg(job_.offsets + doc + 1) - static_cast<std::int64_t>(first_);
    return static_cast<std::uint32_t>(min(end, std::int64_t{kNoEnd}));
  }

  /// The document that has token `at` of the stream begins there, as far as this block is concerned.
  __device__ void open_doc(std::uint32_t at) {
    while (next_end_ <= at) next_end_ = end_of(++doc_);
    doc_begin_ = at;
    whole_ = next_end_ <= n_tokens_;
    doc_end_ = min(next_end_, n_tokens_);
    if (whole_ && doc_ + 1 < job_.n_docs) next_end_ = end_of(doc_ + 1);
    square_ = 0;
    for (unsigned m = 0; m < kTiles; ++m)
      for (unsigned h = 0; h < 2; ++h) state_[m][h] = {-INFINITY, -INFINITY, at};
  }

  /// The document is complete: certify, compute again, write. The query tokens are read again afterwards, so
  /// that their registers are free meanwhile.
  __device__ void settle() {
    settle_rows();
    if constexpr (!kLong) load_queries(0);
  }

  __device__ void settle_rows() {
    float product[kTiles][2];
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        State& s = state_[m][h];
#pragma unroll
        for (unsigned step = 1; step < 4; step *= 2) {
          const float best = __shfl_xor_sync(kAllLanes, s.best, step);
          const float second = __shfl_xor_sync(kAllLanes, s.second, step);
          const std::uint32_t at = __shfl_xor_sync(kAllLanes, s.at, step);
          s.second = fmaxf(fmaxf(s.second, second), fminf(s.best, best));
          s.at = best > s.best ? at : s.at;
          s.best = fmaxf(s.best, best);
        }
      }
    const float length =
        length_bound(square_, TokenOperand<T>::kLow, sqrtf(static_cast<float>(job_.queries.dim)));
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m) {
      // Without a branch in between, so that the reads of one product hide those of the next.
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) product[m][h] = best_product(m * kQueryRows + h * 8, state_[m][h].at);
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        const State& s = state_[m][h];
        const unsigned group = m * kQueryRows + h * 8, mine = group + lane() / 4;
        const float4 facts = __ldg(job_.queries.facts + slot_ + mine);
        const float near = s.best - (facts.x * length + facts.y);
        // Not so if the bound is not a number. With a query token of zeros all products are zero.
        const bool certain = facts.z == 0 || (s.second < near && facts.z * length < kSafeProduct);
        const std::size_t out = std::size_t{doc_ - first_doc_} * job_.best_stride + column_ + mine;
        bool doubtful = false;
        if (lane() % 4 == 0 && mine < n_rows_ && !certain) {
          const unsigned place = atomicAdd(job_.n_doubts, 1u);
          doubtful = place >= job_.max_doubts;
          if (!doubtful) job_.doubts[place] = {first_ + doc_begin_, doc_end_ - doc_begin_, slot_ + mine, out};
        }
        for (unsigned left = __ballot_sync(kAllLanes, doubtful); left != 0; left &= left - 1) {
          const unsigned g = (static_cast<unsigned>(__ffs(static_cast<int>(left))) - 1) / 4;
          const float exhaustive =
              scan_tokens<T>(job_, slot_ + group + g, first_ + doc_begin_, doc_end_ - doc_begin_);
          if (lane() / 4 == g) product[m][h] = exhaustive;
        }
        if (lane() % 4 == 0 && mine < n_rows_) {
          if (whole_)
            job_.best[out] = ordered(product[m][h]);
          else
            atomicMax(job_.best + out, ordered(product[m][h]));
        }
      }
    }
  }

  /// Canonical products of eight query tokens, each with its own document token; those of token `group + g`
  /// in the lanes 4 g .. 4 g + 3. `at`: of the lanes' own.
  __device__ float best_product(unsigned group, std::uint32_t at) const {
    float sums[8] = {}, scale[8];
    const T* row[8];
#pragma unroll
    for (unsigned g = 0; g < 8; ++g) {
      const std::uint32_t token = __shfl_sync(kAllLanes, at, static_cast<int>(4 * g));
      row[g] = token_rows() + token * job_.stride + lane();
      scale[g] = scale_of(token);
    }
    const unsigned depth = n_steps() * kLanes, dim = static_cast<unsigned>(job_.queries.dim);
    const float* query = job_.queries.rows + std::size_t{slot_ + group} * depth + lane();
    // Zeros behind the last coordinate change no bit.
#pragma unroll 2
    for (unsigned step = 0; step < n_steps(); ++step)
#pragma unroll
      for (unsigned g = 0; g < 8; ++g)
        sums[g] = Ip::add(
            sums[g], __ldg(query + g * depth + step * kLanes),
            step * kLanes + lane() < dim ? TokenOperand<T>::widen(row[g] + step * kLanes, scale[g]) : 0.0f);
    return fold_eight(sums, lane());
  }

  struct State {
    float best, second;
    std::uint32_t at;
  };

  const MaxSimJob& job_;
  TileFetcher<T> fetcher_;
  unsigned char* tiles_;
  float* squares_;  // two tiles' groups
  std::size_t first_;
  unsigned slot_, column_, n_rows_;
  std::uint32_t n_tokens_, first_doc_, doc_, doc_begin_, doc_end_, next_end_;
  bool whole_;
  float square_;
  State state_[kTiles][2];
  uint4 queries_[kTerms][kTiles][kSteps][2];
};

template <class T, bool kSplit, unsigned kWarps, unsigned kSteps, bool kLong>
__global__ void __launch_bounds__(BestProducts<T, kSplit, kWarps, kSteps, kLong>::kThreads,
                                  BestProducts<T, kSplit, kWarps, kSteps, kLong>::kMinBlocks)
    best_products(const __grid_constant__ MaxSimJob job) {
  using Worker = BestProducts<T, kSplit, kWarps, kSteps, kLong>;
  extern __shared__ uint4 shared[];
  Worker worker(job, reinterpret_cast<unsigned char*>(shared));
  const bool lists = job.list_offsets != nullptr;
  std::size_t entry = job.first + blockIdx.x;
  for (unsigned panel = lists ? 0 : blockIdx.x * Worker::kPanel;;) {
    if (!lists) {
      const TokenRange part =
          token_part(static_cast<std::size_t>(job.offsets[job.first]),
                     static_cast<std::size_t>(job.offsets[job.last]), blockIdx.y, gridDim.y, Worker::kTile);
      worker.open(
          {panel, panel, job.n_valid - panel, part.first, part.last, static_cast<std::uint32_t>(job.first)});
    } else {
      if (entry >= job.last) return;
      const std::int64_t id = job.list_ids[entry];
      const std::size_t query =
          set_of_token(job.list_offsets, job.n_queries, static_cast<std::int64_t>(entry));
      const auto length = static_cast<std::size_t>(job.query_offsets[query + 1] - job.query_offsets[query]);
      if (id < 0 || panel >= length || job.offsets[id] == job.offsets[id + 1]) {
        entry += gridDim.x;
        panel = 0;
        continue;
      }
      worker.open({static_cast<unsigned>(query * job.queries.slots_per_query) + panel, panel, length - panel,
                   static_cast<std::size_t>(job.offsets[id]), static_cast<std::size_t>(job.offsets[id + 1]),
                   static_cast<std::uint32_t>(static_cast<std::size_t>(id) - (entry - job.first))});
    }
    worker.stream();
    if (!lists) return;
    panel += Worker::kPanel;
  }
}

}  // namespace whimbrel::cuda
