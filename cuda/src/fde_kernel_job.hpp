// What the kernel of the encoder is told, and its shared memory.
#pragma once

#include <cuda_fp16.h>
#include <vector_types.h>

#include <cstddef>
#include <cstdint>

#include "token_layout.hpp"

namespace whimbrel::cuda {

struct alignas(16) PlaneFacts {
  float slack;   // how far a product may be from the canonical one, per length of the token
  float floor;   // and beside that
  float center;  // product with the center
  float none;
};

constexpr unsigned kFdeMaxWarps = 20;
constexpr unsigned kFdeHeldSteps = 4;
constexpr unsigned kFdeMaxChunk = 128;   // tokens
constexpr unsigned kFdeMaxDoubts = 512;  // signs that wait for the canonical product
constexpr std::uint32_t kNoToken = 0xffffffffu;

/// The random objects on the device.
struct FdeTables {
  const uint4* plane_operand;  // tiles of 16 planes, repetition by repetition
  const float* planes;         // (r_reps * k_sim, dim)
  const PlaneFacts* plane_facts;
  const float* center;  // null: none
  float center_norm;
  const uint4* row_operand;  // tiles of 16 rows of the projections, entries 0 and +-1
  float row_scale;           // of the projected coordinates
};

struct FdeJob {
  FdeTables tables;
  const void* tokens;
  std::size_t stride;
  std::size_t n_tokens;
  TileShares shares;
  const std::int64_t* offsets;
  std::size_t first, last;  // sets
  unsigned dim, n_steps, pitch;
  unsigned k_sim, n_cells, r_reps, d_proj;
  unsigned n_rows;     // r_reps * d_proj
  unsigned n_tiles;    // of 16 rows
  unsigned chunk;      // tokens
  unsigned pass_reps;  // repetitions that the rows of a block may touch
  float plain_length;  // no projection of a shorter token passes the largest half
  bool gray, documents, fill;
  float* f32;  // row 0 is that of set `first`
  __half* f16;
  std::uint32_t* partitions;
};

/// Shared memory of a block with `warps` warps, in bytes from its beginning.
struct FdeShared {
  unsigned tiles, sums, firsts, cells, ranks, counts, first_tokens, nearest, squares, doubts, end;
  unsigned row_stride;  // of sums and firsts, per cell

  WHIMBREL_HOST_DEVICE FdeShared(const FdeJob& job, unsigned warps) {
    // Rows of different cells begin in different banks.
    row_stride = warps * kQueryRows + 8;
    unsigned at = 0;
    const auto take = [&](unsigned bytes) {
      const unsigned begin = at;
      at += static_cast<unsigned>(round_up(bytes, kRowBytes));
      return begin;
    };
    tiles = take(2 * job.chunk * job.pitch);
    sums = take(job.n_cells * row_stride * 4);
    firsts = take(job.documents ? job.n_cells * row_stride * 4 : 0);
    cells = take(job.pass_reps * kFdeMaxChunk * 4);
    ranks = take(job.pass_reps * kFdeMaxChunk);
    counts = take(job.pass_reps * job.n_cells * 4);
    first_tokens = take(job.documents ? job.pass_reps * job.n_cells * 4 : 0);
    nearest = take(job.documents ? job.pass_reps * job.n_cells * 4 : 0);
    squares = take(kFdeMaxChunk / kColumns * 4);
    doubts = take((1 + 2 * kFdeMaxDoubts) * 4);
    end = at;
  }
};

}  // namespace whimbrel::cuda
