// The kernel of MaxSim: for every query token and document, the best canonical product.
//
// A block has a panel of query tokens, 16 or 32 for each warp, in registers, and streams token rows through
// shared memory; documents are stretches of that stream and may begin and end anywhere in it. For each query
// token a lane keeps the largest product of its columns, where it was, and the second largest. At the end of
// a document the row of the largest is read again and multiplied in canonical arithmetic; where the second
// is so near that rounding may have hidden the true maximum, another kernel takes all rows of the document
// (maxsim_bound.hpp).
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
#ifndef MS_TILE
#define MS_TILE 16
#define MS_BLOCKS 12
#define MS_STAGES 4
#endif
  static constexpr unsigned kTile = kLong ? 16 : kWarps == 1 ? MS_TILE : kWarps == 2 ? 32 : 64;  // tokens
  // As many as leave registers enough that nothing is spilled.
  static constexpr unsigned kMinBlocks = kLong ? 1 : kWarps == 1 ? MS_BLOCKS : kWarps == 2 ? 6 : 3;
  static constexpr unsigned kStages = kLong ? 3 : kWarps == 1 ? MS_STAGES : 4;  // tiles in shared memory
  // A single warp multiplies the tokens with themselves on the way; several share that.
  static constexpr bool kOwnSquares = kWarps == 1;
  // Halves of query tokens are in the registers, in the order in which canonical sums want them.
  static constexpr bool kExactQueries = !kSplit && !kLong && sizeof(T) == 2;
  // Best tokens are copied to shared memory while the stream goes on, and multiplied a tile later.
  static constexpr bool kDeferred = kWarps == 1 && kExactQueries;
  static constexpr unsigned kStagingBytes = kDeferred ? kTiles * 2 * kSteps * kLanes * kChunkBytes : 0;
  static constexpr bool kScaled = sizeof(T) == 1;
  static_assert(kSplit || !TokenOperand<T>::kLow);

  /// Products in a row that add to one sum.
  static std::size_t n_products(std::size_t n_steps) {
    return 2 * n_steps * (TokenOperand<T>::kLow ? 3 : kTerms);
  }
  static std::size_t shared_bytes(unsigned pitch) {
    return kStagingBytes + std::size_t{kStages} * kTile * pitch + 2 * (kTile / kColumns) * sizeof(float);
  }

  __device__ BestProducts(const MaxSimJob& job, unsigned char* shared)
      : job_(job),
        fetcher_(job.shares),
        staging_(shared),
        tiles_(shared + kStagingBytes),
        squares_(reinterpret_cast<float*>(shared + kStagingBytes + kStages * kTile * job.pitch)) {}

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
    pending_ = {};
    if constexpr (!kLong) load_queries(0);

    const unsigned n_tiles = (n_tokens_ + kTile - 1) / kTile;
    barrier();  // whoever still reads the tiles of an earlier stream
    for (unsigned i = 0; i + 1 < kStages; ++i) fetch(i);
    if constexpr (!kOwnSquares) {
      wait_for_copies<kStages - 2>();
      barrier();
      find_squares(0);
    }
    for (unsigned i = 0; i < n_tiles; ++i) {
      wait_for_copies<kStages -
                      (kOwnSquares ? 2 : 3)>();  // this tile is there, and the next for find_squares
      barrier();                                 // for everybody, and tile i - 1 is done with
      fetch(i + kStages - 1);
      if constexpr (!kOwnSquares) find_squares(i + 1);
      if (n_rows_ == 0) continue;
      // Its copies belong to the group of a tile that is there.
      if (kDeferred && pending_.open && i >= pending_.since + kStages) finish_pending();
      multiply(i);
    }
    if constexpr (kDeferred) finish_pending_now();
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
      float sums[kSubtiles][kTiles][4] = {}, squares[kSubtiles][4] = {};
      if constexpr (kLong) {
        for (unsigned chunk = 0; chunk * kSteps < n_steps(); ++chunk) {
          load_queries(chunk);
          add_chunk(i, j, chunk, sums, squares);
        }
      } else {
        add_chunk(i, j, 0, sums, squares);
      }
      // Not unrolled, since the end of a document is a long piece of code.
#pragma unroll 1
      for (unsigned sub = 0; sub < kSubtiles; ++sub) {
        const std::uint32_t base = begin + (j + sub) * kColumns;
        if (base >= n_tokens_) break;
        if (sub > 0) {
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums[0][m][v] = sums[1][m][v];
#pragma unroll
          for (unsigned v = 0; v < 2; ++v) squares[0][v] = squares[1][v];
        }
        float square = kOwnSquares ? 0 : squares_[i % 2 * (kTile / kColumns) + j + sub];
        if constexpr (kOwnSquares && !kScaled) square = fmaxf(squares[0][0], squares[0][1]);
        if constexpr (kScaled) {
          const float scale[2] = {scale_of(base + lane() % 4 * 2), scale_of(base + lane() % 4 * 2 + 1)};
          // On the diagonal, where both factors are the token of one scale.
          const unsigned v = lane() / 4 % 2;
          if (kOwnSquares && lane() / 8 == lane() % 4)
            square = v == 0 ? squares[0][0] * scale[0] * scale[0] : squares[0][1] * scale[1] * scale[1];
#pragma unroll
          for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
            for (unsigned v = 0; v < 4; ++v) sums[0][m][v] *= scale[v % 2];
        }
        take(base, square, sums[0]);
      }
    }
  }

  __device__ void add_chunk(unsigned i, unsigned j, unsigned chunk, float (&sums)[kSubtiles][kTiles][4],
                            float (&squares)[kSubtiles][4]) {
#pragma unroll
    for (unsigned s = 0; s < kSteps; ++s) {
      const unsigned step = chunk * kSteps + s;
      Operand high[kSubtiles], low[kSubtiles];
#pragma unroll
      for (unsigned sub = 0; sub < kSubtiles; ++sub)
        TokenOperand<T>::load(tile(i), (j + sub) * kColumns + lane() / 4, step, lane() % 4, job_.pitch,
                              high[sub], low[sub]);
      if constexpr (kOwnSquares) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half)
#pragma unroll
          for (unsigned sub = 0; sub < kSubtiles; ++sub) {
            const std::uint32_t first = high[sub].word[2 * half], second = high[sub].word[2 * half + 1];
            add_product(squares[sub], make_uint4(first, 0, second, 0), first, second);
          }
      }
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
      if constexpr (kDeferred) {
        finish_pending_now();
        pending_ = {true, whole_, 0, doc_, base / kTile};
      }
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

  /// The document is complete: its best token is multiplied again for each query token, and certified.
  __device__ void settle() {
    float square = square_;
    if constexpr (kOwnSquares)
      square = __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(fmaxf(square, 0.0f))));
    const float length =
        length_bound(square, TokenOperand<T>::kLow, sqrtf(static_cast<float>(job_.queries.dim)));
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m) {
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
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        const State& s = state_[m][h];
        const unsigned mine = m * kQueryRows + h * 8 + lane() / 4;
#ifdef MS_NO_SETTLE
        const float product = s.best * 1e-30f;
#else
        const float product = kDeferred ? 0.0f : multiply_best(m, h);
#endif
        bool certain = false;
        if (lane() % 4 == 0 && mine < n_rows_) {
          const float4 facts = __ldg(job_.queries.facts + slot_ + mine);
          const float near = s.best - (facts.x * length + facts.y);
          // Not so if the bound is not a number. With a query token of zeros all products are zero.
          certain = (facts.z == 0 || (s.second < near && facts.z * length < kSafeProduct)) &&
                    !(kExactQueries && facts.w == 0);
        }
        if (kDeferred) {
          const bool wanted = __shfl_sync(kAllLanes, certain, static_cast<int>(lane() / 4 * 4));
          if (wanted) stage_best(m, h);
        }
        if (lane() % 4 != 0 || mine >= n_rows_) continue;
        if (certain) {
          if (!kDeferred) write_best(doc_, mine, product, whole_);
          continue;
        }
        const std::size_t out = std::size_t{doc_ - first_doc_} * job_.best_stride + column_ + mine;
        const unsigned place = atomicAdd(job_.n_doubts, 1u);
        if (place < job_.max_doubts)
          job_.doubts[place] = {first_ + doc_begin_, doc_end_ - doc_begin_, slot_ + mine, out};
        else
          atomicMax(job_.best + out, kLookAtAll);
      }
    }
  }

  __device__ void write_best(std::uint32_t doc, unsigned row, float product, bool whole) const {
    const std::size_t out = std::size_t{doc - first_doc_} * job_.best_stride + column_ + row;
    if (kExactQueries) product *= __ldg(&job_.queries.facts[slot_ + row].w);
    if (whole)
      job_.best[out] = ordered(product);
    else
      atomicMax(job_.best + out, ordered(product));
  }

  /// The lane's share of a best token, on its way to where only this lane reads it.
  __device__ void stage_best(unsigned m, unsigned h) {
    const unsigned dim = static_cast<unsigned>(job_.queries.dim), t = lane() % 4;
    const T* row = token_rows() + state_[m][h].at * job_.stride;
    pending_.groups |= 1u << (2 * m + h);
#pragma unroll
    for (unsigned step = 0; step < kSteps; ++step) {
      Eight<T>* to = staged(m, h, step);
      const unsigned first = step * kStepDepth + t * 8;
      if (job_.shares.aligned && dim % 8 == 0)
        copy_chunk_async(to, row + (first < dim ? first : 0), first < dim ? kChunkBytes : 0);
      else
        *to = load_eight(row, first, dim, false);
    }
  }
  __device__ Eight<T>* staged(unsigned m, unsigned h, unsigned step) const {
    return reinterpret_cast<Eight<T>*>(staging_) + ((2 * m + h) * kSteps + step) * kLanes + lane();
  }

  __device__ void finish_pending_now() {
    if (!pending_.open) return;
    commit_copies();
    wait_for_copies<0>();
    finish_pending();
  }
  __device__ void finish_pending() {
#pragma unroll
    for (unsigned m = 0; m < kTiles; ++m)
#pragma unroll
      for (unsigned h = 0; h < 2; ++h) {
        float sums[8] = {};
        const bool mine = (pending_.groups >> (2 * m + h) & 1) != 0;
#pragma unroll
        for (unsigned step = 0; step < kSteps; ++step) add_eight(m, h, step, *staged(m, h, step), 1.0f, sums);
        const float product = fold_quad(sums, lane());
        if (mine && lane() % 4 == 0)
          write_best(pending_.doc, m * kQueryRows + h * 8 + lane() / 4, product, pending_.whole);
      }
    pending_.open = false;
  }

  /// Canonical products of eight query tokens, group h of tile m, each with its own best token: four lanes
  /// for each, of which lane t sums the coordinates 8 t .. 8 t + 7 of every step.
  __device__ float multiply_best(unsigned m, unsigned h) const {
    const unsigned dim = static_cast<unsigned>(job_.queries.dim), t = lane() % 4;
    const bool aligned = job_.shares.aligned && dim % 8 == 0;
    const T* row = token_rows() + state_[m][h].at * job_.stride;
    const float scale = scale_of(state_[m][h].at);
    float sums[8] = {};
    if constexpr (kLong) {
#pragma unroll 1
      for (unsigned step = 0; step < n_steps(); ++step)
        add_eight(m, h, step, load_eight(row, step * kStepDepth + t * 8, dim, aligned), scale, sums);
    } else {
      Eight<T> token[kSteps];  // all on their way together
#pragma unroll
      for (unsigned step = 0; step < kSteps; ++step)
        token[step] = load_eight(row, step * kStepDepth + t * 8, dim, aligned);
#pragma unroll
      for (unsigned step = 0; step < kSteps; ++step) add_eight(m, h, step, token[step], scale, sums);
    }
    return fold_quad(sums, lane());
  }

  __device__ void add_eight(unsigned m, unsigned h, unsigned step, const Eight<T>& token, float scale,
                            float (&sums)[8]) const {
    float query[8];
    if constexpr (kExactQueries) {
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        const uint4& a = queries_[0][m][step][half];
        const std::uint32_t words[2] = {h == 0 ? a.x : a.y, h == 0 ? a.z : a.w};
#pragma unroll
        for (unsigned v = 0; v < 4; ++v)
          query[4 * half + v] =
              __half2float(__ushort_as_half(static_cast<unsigned short>(words[v / 2] >> v % 2 * 16)));
      }
    } else {
      const std::size_t slot = slot_ + m * kQueryRows + h * 8 + lane() / 4;
      const float4* from = reinterpret_cast<const float4*>(
          job_.queries.rows + (slot * n_steps() + step) * kStepDepth + lane() % 4 * 8);
      const float4 first = __ldg(from), second = __ldg(from + 1);
      query[0] = first.x, query[1] = first.y, query[2] = first.z, query[3] = first.w;
      query[4] = second.x, query[5] = second.y, query[6] = second.z, query[7] = second.w;
    }
    // Zeros behind the last coordinate change no bit.
#pragma unroll
    for (unsigned i = 0; i < 8; ++i)
      sums[i] = Ip::add(sums[i], query[i], TokenOperand<T>::widen(token.value + i, scale));
  }

  struct State {
    float best, second;
    std::uint32_t at;
  };

  /// A document whose best tokens are on their way.
  struct Pending {
    bool open, whole;
    unsigned groups;  // of query tokens of which this lane's is wanted
    std::uint32_t doc;
    unsigned since;  // tile
  };

  const MaxSimJob& job_;
  TileFetcher<T> fetcher_;
  unsigned char *staging_, *tiles_;
  float* squares_;  // two tiles' groups
  std::size_t first_;
  unsigned slot_, column_, n_rows_;
  std::uint32_t n_tokens_, first_doc_, doc_, doc_begin_, doc_end_, next_end_;
  bool whole_;
  Pending pending_;
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
