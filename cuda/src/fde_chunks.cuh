// How a block of the encoder's product kernel goes through its sets: in chunks of tokens, several of them in
// shared memory at a time, with what is known of each. What is done with a chunk is in fde_signs.cuh and
// fde_product_kernel.cuh.
#pragma once

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "fde_cells.hpp"
#include "fde_kernel_job.hpp"
#include "lanes.cuh"
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
struct FdeProductShared {
  static constexpr unsigned kWords = kFdeMaxChunk / kWordTokens, kGroups = kFdeMaxChunk / kColumns;
  float lengths[kFdeStages][kGroups];
  FdeItem items[kFdeItems];
  FdeWalk walk;
  unsigned first_rep, end_rep;         // that the block's rows touch
  alignas(16) std::uint32_t signs[1];  // [2][planes][kWords]

  static std::size_t bytes(unsigned pitch, unsigned n_planes) {
    return kFdeStages * kFdeMaxChunk * pitch + sizeof(FdeProductShared) + 2 * n_planes * kWords * 4;
  }
};

/// Chunks are numbered as the block takes them.
class SetChunks {
 protected:
  using T = __half;
  static constexpr unsigned kChunk = kFdeMaxChunk;
  using Shared = FdeProductShared;
  static constexpr unsigned kWords = Shared::kWords, kGroups = Shared::kGroups;

  __device__ __forceinline__ SetChunks(const FdeJob& job, unsigned char* tiles) : job_(job), tiles_(tiles) {}

  static __device__ __forceinline__ unsigned lane() { return threadIdx.x % kLanes; }
  static __device__ __forceinline__ unsigned warp() { return threadIdx.x / kLanes; }
  static __device__ __forceinline__ unsigned warps() { return blockDim.x / kLanes; }
  __device__ __forceinline__ std::uint32_t n_sets() const {
    return static_cast<std::uint32_t>(job_.last - job_.first);
  }

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
    const unsigned rows = warps() * kQueryRows;
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

  __device__ __forceinline__ float* lengths(int i) const {
    return shared().lengths[static_cast<unsigned>(i) % kFdeStages];
  }
  /// Words of plane number `plane` of the pass.
  __device__ __forceinline__ std::uint32_t* signs(int i, unsigned plane) const {
    return shared().signs + (static_cast<unsigned>(i) % 2 * job_.pass_reps * job_.k_sim + plane) * kWords;
  }

  const FdeJob& job_;
  unsigned char* tiles_;
};

}  // namespace whimbrel::cuda
