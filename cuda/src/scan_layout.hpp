// Index maps of the scan: where a value lies in shared memory, which rows share a minimum.
//
// A warp computes 64 x 64 scores: 4 by 8 tiles of m16n8. Thread `lane` holds, of every 8 columns, columns 2t
// and 2t + 1 with t = lane % 4, for rows lane / 4 and lane / 4 + 8 of every 16. A *block* is 64 columns (rows
// of the database) that one warp sees at once; a *group* is G of the 16 columns of a block that one thread
// holds, so that its minimum needs no other thread; a *span* is the blocks of one warp over several tiles.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_device.hpp"

namespace whimbrel::cuda {

/// Columns of one step of the main loop, of 2 bytes each: rows of 128 bytes in shared memory.
inline constexpr unsigned kDepthStep = 64;
inline constexpr unsigned kChunkBytes = 16;             ///< what cp.async and ldmatrix move
inline constexpr unsigned kStepBytes = kDepthStep * 2;  ///< of one row
inline constexpr unsigned kChunksPerRow = kStepBytes / kChunkBytes;
/// Rows and columns of a warp's tile.
inline constexpr unsigned kWarpRows = 64, kBlockCols = 64;
inline constexpr unsigned kThreadCols = 16;  ///< of a block, held by one thread for each of its rows
/// Every operand is padded to this many rows: the widest tile.
inline constexpr unsigned kRowPadding = 512;

/// Byte offset of a chunk in a step's rows. The exclusive or spreads the same chunk of 8 rows, which
/// ldmatrix reads at once, over all banks.
WHIMBREL_HOST_DEVICE constexpr unsigned swizzled(unsigned row, unsigned chunk) {
  return row * kStepBytes + ((chunk ^ (row & 7u)) * kChunkBytes);
}
/// From the address of a chunk 0 or 1 to that of the chunk 2k further: chunks are told apart by bits alone,
/// in a buffer aligned to a row.
WHIMBREL_HOST_DEVICE constexpr unsigned deeper(unsigned address, unsigned k) {
  return address ^ (2 * k * kChunkBytes);
}

/// An operand lies in memory as it will lie in shared memory: blocks of 64 rows, in each its steps one after
/// the other, so that a block of a step is a run of bytes.
inline constexpr unsigned kBlockBytes = 64 * kStepBytes;
/// Byte offset in an operand of a row's chunk, counted over all its steps.
WHIMBREL_HOST_DEVICE constexpr std::size_t operand_offset(std::size_t row, std::size_t chunk,
                                                          std::size_t steps) {
  return (row / 64 * steps + chunk / kChunksPerRow) * kBlockBytes +
         swizzled(static_cast<unsigned>(row % 64), static_cast<unsigned>(chunk % kChunksPerRow));
}

/// Row and chunk that a lane names to ldmatrix.x4 for an m16 x k16 tile of the left operand.
WHIMBREL_HOST_DEVICE constexpr unsigned left_row(unsigned lane) { return lane & 15u; }
WHIMBREL_HOST_DEVICE constexpr unsigned left_chunk(unsigned lane) { return lane >> 4; }
/// The same for two n8 x k16 tiles of the right operand: registers 0, 1 are the first tile, 2, 3 the second.
WHIMBREL_HOST_DEVICE constexpr unsigned right_row(unsigned lane) { return (lane & 7u) + (lane >> 4) * 8; }
WHIMBREL_HOST_DEVICE constexpr unsigned right_chunk(unsigned lane) { return lane >> 3 & 1u; }

/// Column in the block of a thread's value `index` (0 or 1) in the n8 tile `tile`.
WHIMBREL_HOST_DEVICE constexpr unsigned block_column(unsigned lane, unsigned tile, unsigned index) {
  return tile * 8 + (lane & 3u) * 2 + index;
}

/// Groups of a block are numbered by thread: thread t of a quad has groups [t P, (t + 1) P), P = 16 / G.
WHIMBREL_HOST_DEVICE constexpr unsigned groups_per_block(unsigned group) { return kBlockCols / group; }

/// Column in the block of member `member` < G of group number `number`.
WHIMBREL_HOST_DEVICE constexpr unsigned group_column(unsigned group, unsigned number, unsigned member) {
  const unsigned per_thread = kThreadCols / group;
  return block_column(number / per_thread, number % per_thread * (group / 2) + member / 2, member & 1u);
}

/// How tiles of `block_columns` blocks side by side are cut into spans of `span_tiles` tiles.
struct SpanLayout {
  unsigned warps;       ///< blocks of a tile side by side
  unsigned span_tiles;  ///< tiles of a span

  WHIMBREL_HOST_DEVICE constexpr std::size_t spans(std::size_t tiles) const {
    return (tiles + span_tiles - 1) / span_tiles * warps;
  }
  WHIMBREL_HOST_DEVICE constexpr std::size_t span_of(std::size_t tile, unsigned warp) const {
    return tile / span_tiles * warps + warp;
  }
  /// Block number i of a span, i < span_tiles; it exists if its tile does.
  WHIMBREL_HOST_DEVICE constexpr std::size_t tile_of(std::size_t span, unsigned i) const {
    return span / warps * span_tiles + i;
  }
  WHIMBREL_HOST_DEVICE constexpr std::size_t block_of(std::size_t span, unsigned i) const {
    return tile_of(span, i) * warps + span % warps;
  }
};

/// Where minima lie, for `n` queries. Those of one block for queries side by side are side by side, as a warp
/// writes them; runs of kSpanRun spans of a query are, as a query's block of threads reads them.
inline constexpr unsigned kSpanRun = 8;
WHIMBREL_HOST_DEVICE constexpr std::size_t group_place(std::size_t block, std::size_t query, std::size_t n,
                                                       unsigned group) {
  return (block * n + query) * groups_per_block(group);
}
WHIMBREL_HOST_DEVICE constexpr std::size_t span_place(std::size_t span, std::size_t query, std::size_t n) {
  return (span / kSpanRun * n + query) * kSpanRun + span % kSpanRun;
}

/// Tiles that hold a row before the last query of a tile of queries, for KnnScope::kEarlier.
WHIMBREL_HOST_DEVICE constexpr std::size_t earlier_tiles(std::size_t last_query, std::size_t tile_cols,
                                                         std::size_t n_tiles) {
  const std::size_t tiles = (last_query + tile_cols - 1) / tile_cols;
  return tiles < n_tiles ? tiles : n_tiles;
}

}  // namespace whimbrel::cuda
