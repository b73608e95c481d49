// The stored index: vectors, levels and links. No algorithm lives here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"
#include "hnsw/row_set.hpp"
#include "kernels/dispatch.hpp"
#include "quantize/scalar_quantizer.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {

/// Ends a link list that is not full; also "no node".
inline constexpr std::uint32_t kNoNode = 0xffffffffu;
/// A node number and one flag share 32 bits in the candidate pool.
inline constexpr std::size_t kMaxNodes = 0x7ffffffe;
/// More levels than 2^31 nodes reach with M = 2, but for one chance in 2^32.
inline constexpr std::size_t kMaxLevel = 63;

struct Graph {
  Graph(std::size_t dim_, const HnswParams& params_)
      : dim(dim_),
        params(params_),
        vectors(padded_dim()),
        halves(round_up(dim_, kCacheLine / sizeof(kernels::Half))),
        links0(2 * static_cast<std::size_t>(params_.M)),
        level(1),
        upper_begin(1),
        upper_links(params_.M),
        codes(in_bytes() ? round_up(dim_, kernels::kCodeLine) : 1) {}

  std::size_t size() const noexcept { return level.size(); }
  std::size_t capacity(std::size_t l) const noexcept {
    return l == 0 ? links0.stride() : upper_links.stride();
  }

  const std::uint32_t* links(std::uint32_t node, std::size_t l) const noexcept {
    return l == 0 ? links0.row(node) : upper_links.row(upper_begin[node] + l - 1);
  }
  std::uint32_t* links(std::uint32_t node, std::size_t l) noexcept {
    return l == 0 ? links0.row(node) : upper_links.row(upper_begin[node] + l - 1);
  }
  std::size_t degree(std::uint32_t node, std::size_t l) const noexcept {
    const std::uint32_t* row = links(node, l);
    return static_cast<std::size_t>(std::find(row, row + capacity(l), kNoNode) - row);
  }

  /// Floats of a stored row in whole cache lines.
  std::size_t padded_dim() const noexcept { return round_up(dim, kCacheLine / sizeof(float)); }
  /// Floats of a row that distances are measured over: the zeros behind it, where it has some, cost nothing.
  std::size_t measured_dim() const noexcept { return callers_rows ? dim : padded_dim(); }
  bool in_halves() const noexcept { return params.rerank == Rerank::kF16; }

  /// What a search measures on its way is what it returns.
  bool measured_once() const noexcept { return params.metric == Metric::kUser || in_bytes(); }

  /// Vectors that are gone, but for what codes say of them (Rerank::kNone).
  bool only_codes() const noexcept { return params.rerank == Rerank::kNone && !quantizer.empty(); }
  /// Vectors of bytes, which are in `codes` (byte_rows.hpp).
  bool in_bytes() const noexcept { return params.vector_type != VectorType::kFloat32; }

  /// Where there is a row of codes and their terms in place of a vector.
  bool rows_are_codes() const noexcept { return in_bytes() || only_codes(); }

  /// Removed. For the writer.
  bool gone(std::uint32_t node) const noexcept { return node < n_linked && !live.contains(node); }

  std::size_t dim;
  HnswParams params;
  BlockRows<float> vectors;         // as stored (rows.hpp): zero-padded to whole cache lines
  bool callers_rows = false;        // vectors are the caller's, who may have anything behind a row
  BlockRows<kernels::Half> halves;  // instead of them, with Rerank::kF16
  std::vector<std::uint32_t>
      dim_order;                    // coordinate j of a stored row is dim_order[j] of the caller's; empty: j
  BlockRows<std::uint32_t> links0;  // level 0: 2M per node, kNoNode after the last
  BlockRows<std::uint8_t> level;    // highest level of each node
  RowSet live;                      // rows that are there for a search: not removed, not being added
  std::size_t n_hidden = 0;         // others that lists of live ones may lead to
  std::size_t n_linked = 0;         // rows from here on are being added
  BlockRows<std::uint32_t> upper_begin;          // first row in upper_links of a node with level > 0
  BlockRows<std::uint32_t> upper_links;          // levels 1, 2, ... of a node in consecutive rows of M
  ScalarQuantizer quantizer;                     // empty: searches measure the vectors
  BlockRows<std::uint8_t> codes;                 // of the vectors, or empty
  CountedVector<kernels::CodeTerms> code_terms;  // beside them where they are compared with each other
  std::size_t trained_size = 0;                  // rows there were when the quantizer was last learned
  std::uint32_t entry = kNoNode;
  std::size_t max_level = 0;
};

/// Level of a row: P(level >= l) = M^-l, decided in integers so that every platform agrees.
inline std::uint8_t random_level(std::uint64_t seed, std::uint64_t row, std::uint32_t M) {
  std::uint64_t bits = random_bits(seed, RandomPurpose::kHnswLevel, row);
  std::uint64_t threshold = 0xffffffffffffffffULL / M;
  std::uint8_t level = 0;
  while (bits < threshold && level < kMaxLevel) {
    ++level;
    threshold /= M;
  }
  return level;
}

}  // namespace whimbrel
