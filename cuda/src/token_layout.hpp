// Where token coordinates stand in shared memory and in the operands of m16n8k16 products. Plain functions
// of numbers, so that they are tested on the host (tests/cpp/test_token_layout.cpp).
//
// Coordinates are taken in steps of 32, two products deep. In a step the lane whose number in its group of
// four is t owns the coordinates 8 t .. 8 t + 7: the first four for the first product, the rest for the
// second. The product does not care about the order of coordinates as long as both operands have the same,
// and so a lane gets all of its step in one access.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_device.hpp"

namespace whimbrel::cuda {

inline constexpr unsigned kStepDepth = 32;   // coordinates of a step
inline constexpr unsigned kChunkBytes = 16;  // of one asynchronous copy
inline constexpr unsigned kRowBytes = 128;   // rows take whole multiples: all banks once
inline constexpr unsigned kColumns = 8;      // tokens of a product (its n)
inline constexpr unsigned kQueryRows = 16;   // query tokens of a product (its m)

WHIMBREL_HOST_DEVICE constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Rows of tokens in shared memory. Chunks are exchanged within a row so that the lanes that are served
/// together find their chunks in different banks.
template <std::size_t kBytes>  // of a coordinate: 1, 2 or 4
struct TokenRows {
  static constexpr unsigned kLaneBytes = 8 * kBytes;  // of a lane in a step

  /// Bytes from row to row, for `depth` coordinates, a multiple of kStepDepth.
  WHIMBREL_HOST_DEVICE static constexpr unsigned pitch(std::size_t depth) {
    return static_cast<unsigned>(round_up(depth * kBytes, kRowBytes));
  }
  /// Byte of a chunk.
  WHIMBREL_HOST_DEVICE static constexpr unsigned offset(unsigned row, unsigned chunk, unsigned row_pitch) {
    const unsigned flip = kBytes == 1 ? (row & 3) * 2 : kBytes == 2 ? (row & 1) * 4 : row & 1;
    return row * row_pitch + (chunk ^ flip) * kChunkBytes;
  }
  /// Byte of coordinate 8 t + 16 / kBytes * part of a step.
  WHIMBREL_HOST_DEVICE static constexpr unsigned lane_offset(unsigned row, unsigned step, unsigned t,
                                                             unsigned part, unsigned row_pitch) {
    const unsigned byte =
        step * kStepDepth * static_cast<unsigned>(kBytes) + t * kLaneBytes + part * kChunkBytes;
    return offset(row, byte / kChunkBytes, row_pitch) + byte % kChunkBytes;
  }
};

/// Coordinate of value v (0..3, two per register) that lane t of a group holds for product `half` of a step.
/// Values 0 and 1 are the first register of the second operand, 2 and 3 the second.
WHIMBREL_HOST_DEVICE constexpr unsigned step_coordinate(unsigned step, unsigned half, unsigned t,
                                                        unsigned v) {
  return step * kStepDepth + 8 * t + 4 * half + v;
}

/// First operands are kept in the order in which lanes want them: 16 bytes per lane and product, in them the
/// values (row g, v 0..1), (row g + 8, v 0..1), (row g, v 2..3), (row g + 8, v 2..3), g = lane / 4.
WHIMBREL_HOST_DEVICE constexpr std::size_t operand_index(std::size_t tile, std::size_t n_steps,
                                                         std::size_t step, std::size_t half,
                                                         std::size_t lane) {
  return ((tile * n_steps + step) * 2 + half) * 32 + lane;
}

/// Tokens [first, last) of part `part` of `parts`, in whole tiles: every token in exactly one part.
struct TokenRange {
  std::size_t first, last;
};
WHIMBREL_HOST_DEVICE constexpr TokenRange token_part(std::size_t first, std::size_t last, std::size_t part,
                                                     std::size_t parts, std::size_t tile) {
  const std::size_t n = last - first;
  const std::size_t share = round_up((n + parts - 1) / parts, tile);
  const std::size_t begin = part * share < n ? part * share : n;
  const std::size_t end = begin + share < n ? begin + share : n;
  return {first + begin, first + end};
}

/// The largest i with offsets[i] <= token, where offsets[n] > token: the set that has the token.
WHIMBREL_HOST_DEVICE constexpr std::size_t set_of_token(const std::int64_t* offsets, std::size_t n,
                                                        std::int64_t token) {
  std::size_t low = 0, high = n;
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    if (offsets[middle] <= token)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/// How the threads of a block share the chunks of a tile: chunk `threadIdx.x` first, then in steps of as many
/// as there are threads. Worked out by the host, as it takes divisions.
struct TileShares {
  unsigned chunks;  // of a row
  unsigned row_step, chunk_step;
  bool aligned;

  TileShares() = default;
  TileShares(std::size_t depth, std::size_t element_bytes, unsigned n_threads, bool aligned_)
      : chunks(static_cast<unsigned>(depth * element_bytes) / kChunkBytes),
        row_step(n_threads / chunks),
        chunk_step(n_threads % chunks),
        aligned(aligned_) {}
};

}  // namespace whimbrel::cuda
