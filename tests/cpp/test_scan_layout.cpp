// The index maps of the GPU's scan, which a host can check as well: every map is one to one and covers all.
#include <doctest/doctest.h>

#include <set>
#include <utility>

#include "scan_layout.hpp"

namespace whimbrel::cuda {
namespace {

TEST_CASE("a step's chunks have places of their own, and 8 rows of one chunk meet all banks") {
  constexpr unsigned kRows = 128;
  std::set<unsigned> places;
  for (unsigned row = 0; row < kRows; ++row)
    for (unsigned chunk = 0; chunk < kChunksPerRow; ++chunk) places.insert(swizzled(row, chunk));
  CHECK(places.size() == kRows * kChunksPerRow);
  CHECK(*places.rbegin() == (kRows * kChunksPerRow - 1) * kChunkBytes);
  for (unsigned row = 0; row < kRows; row += 8)
    for (unsigned chunk = 0; chunk < kChunksPerRow; ++chunk) {
      std::set<unsigned> banks;
      for (unsigned r = row; r < row + 8; ++r) banks.insert(swizzled(r, chunk) / kChunkBytes % 8);
      CHECK(banks.size() == 8);
    }
}

TEST_CASE("going deeper by address is going deeper by chunk") {
  for (unsigned row = 0; row < 64; ++row)
    for (unsigned chunk = 0; chunk < 2; ++chunk)
      for (unsigned k = 0; k < kDepthStep / 16; ++k)
        CHECK(deeper(4096 + swizzled(row, chunk), k) == 4096 + swizzled(row, 2 * k + chunk));
}

TEST_CASE("an operand in memory is runs of 64 rows of a step, each chunk in its place of shared memory") {
  for (const std::size_t steps : {1u, 2u, 12u}) {
    std::set<std::size_t> places;
    for (std::size_t row = 0; row < 192; ++row)
      for (std::size_t chunk = 0; chunk < steps * kChunksPerRow; ++chunk) {
        const std::size_t at = operand_offset(row, chunk, steps);
        places.insert(at);
        const std::size_t run = row / 64 * steps + chunk / kChunksPerRow;
        CHECK(at / kBlockBytes == run);
        // Runs of the same step one after the other make up the rows of a tile.
        CHECK(row / 64 * kBlockBytes + at % kBlockBytes ==
              swizzled(static_cast<unsigned>(row), static_cast<unsigned>(chunk % kChunksPerRow)));
      }
    CHECK(places.size() == 192 * steps * kChunksPerRow);
  }
}

// What ldmatrix gives, and what mma.sync m16n8k16 wants, as the PTX manual has it: register i of lane l is
// the pair (row l / 4, columns 2 (l % 4) + {0, 1}) of the tile whose rows lanes 8 i to 8 i + 7 name.
struct Pair {
  unsigned row, chunk, offset;
  friend bool operator==(const Pair&, const Pair&) = default;
};
template <class RowOf, class ChunkOf>
Pair loaded(unsigned lane, unsigned i, RowOf row_of, ChunkOf chunk_of) {
  const unsigned namer = 8 * i + lane / 4;
  return {row_of(namer), chunk_of(namer), lane % 4 * 2};
}

TEST_CASE("fragments hold what the matrix unit takes them for") {
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      // Left: registers are (row, k), (row + 8, k), (row, k + 8), (row + 8, k + 8); a chunk is 8 values of k.
      CHECK(loaded(lane, i, left_row, left_chunk) == Pair{lane / 4 + i % 2 * 8, i / 2, lane % 4 * 2});
      // Right, two tiles of 8 columns: (k, column), (k + 8, column) each.
      CHECK(loaded(lane, i, right_row, right_chunk) == Pair{lane / 4 + i / 2 * 8, i % 2, lane % 4 * 2});
    }
}

TEST_CASE("the groups of a block are its columns, each once, and a thread's groups are its own columns") {
  for (const unsigned group : {4u, 16u}) {
    std::set<unsigned> columns;
    for (unsigned number = 0; number < groups_per_block(group); ++number)
      for (unsigned member = 0; member < group; ++member) {
        const unsigned column = group_column(group, number, member);
        columns.insert(column);
        const unsigned thread = number / (kThreadCols / group);
        CHECK(column % 8 / 2 == thread);
        // The scan takes the minimum of n8 tiles [number in thread * group / 2, ...), both values.
        CHECK(column / 8 == number % (kThreadCols / group) * (group / 2) + member / 2);
      }
    CHECK(columns.size() == kBlockCols);
    CHECK(*columns.rbegin() == kBlockCols - 1);
  }
}

TEST_CASE("spans are all blocks, each once") {
  for (const unsigned warps : {2u, 4u, 8u})
    for (const unsigned span_tiles : {1u, 2u, 8u})
      for (const std::size_t tiles : {1u, 7u, 8u, 9u, 33u}) {
        const SpanLayout layout{warps, span_tiles};
        std::set<std::size_t> blocks;
        for (std::size_t span = 0; span < layout.spans(tiles); ++span) {
          bool any = false;
          for (unsigned i = 0; i < span_tiles; ++i) {
            const std::size_t tile = layout.tile_of(span, i), block = layout.block_of(span, i);
            if (tile >= tiles) continue;
            any = true;
            CHECK(blocks.insert(block).second);
            CHECK(block / warps == tile);
            CHECK(layout.span_of(tile, static_cast<unsigned>(block % warps)) == span);
          }
          CHECK(any);
        }
        CHECK(blocks.size() == tiles * warps);
      }
}

TEST_CASE("minima have places of their own") {
  constexpr std::size_t kQueries = 5, kNBlocks = 6, kSpans = 19;
  for (const unsigned group : {4u, 16u}) {
    std::set<std::size_t> places;
    for (std::size_t q = 0; q < kQueries; ++q)
      for (std::size_t block = 0; block < kNBlocks; ++block)
        for (unsigned g = 0; g < groups_per_block(group); ++g)
          places.insert(group_place(block, q, kQueries, group) + g);
    CHECK(places.size() == kQueries * kNBlocks * groups_per_block(group));
    CHECK(*places.rbegin() == places.size() - 1);
  }
  std::set<std::size_t> places;
  for (std::size_t q = 0; q < kQueries; ++q)
    for (std::size_t span = 0; span < kSpans; ++span) places.insert(span_place(span, q, kQueries));
  CHECK(places.size() == kQueries * kSpans);
  CHECK(*places.rbegin() < kQueries * ((kSpans + kSpanRun - 1) / kSpanRun * kSpanRun));
}

TEST_CASE("the tiles of earlier rows are those that hold one") {
  CHECK(earlier_tiles(0, 128, 10) == 0);
  CHECK(earlier_tiles(1, 128, 10) == 1);
  CHECK(earlier_tiles(128, 128, 10) == 1);
  CHECK(earlier_tiles(129, 128, 10) == 2);
  CHECK(earlier_tiles(5000, 128, 10) == 10);
}

}  // namespace
}  // namespace whimbrel::cuda
