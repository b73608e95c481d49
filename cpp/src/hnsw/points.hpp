// What graph algorithms measure: the stored vectors, or codes of them in a fraction of the bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/memory.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/pair_terms.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Keep the nodes whose distance is below `bound`; their number. Free of branches nobody can predict.
inline std::size_t compact_below(std::uint32_t* nodes, std::size_t n, float bound,
                                 float* distances) noexcept {
  std::size_t found = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float distance = distances[i];
    nodes[found] = nodes[i];
    distances[found] = distance;
    found += distance < bound;
  }
  return found;
}

/// The stored vectors and the kernel for them; T: float or kernels::Half. Distances between two of these
/// points are symmetric, bit for bit, as those of all points are that are linked.
template <class T>
struct RowPoints {
  using Query = const float*;
  struct Scratch {
    explicit Scratch(const RowPoints& points) : values(std::is_same_v<T, float> ? 0 : points.dim) {}
    AlignedArray<float> values;
  };

  kernels::RowBlocks<T> rows;
  kernels::IdsKernel<T> kernel;
  kernels::PairKernel ip;
  kernels::WidenF16Kernel widen;
  std::size_t dim;  // padded: a query has this many floats
  bool l2;
  kernels::BelowKernel below = nullptr;  // gives rows up early, where that pays (float rows only)
  std::size_t stage = 0;                 // after so many coordinates

  explicit RowPoints(const Graph& graph);

  /// A point in the form of a query.
  Query query(std::uint32_t node, [[maybe_unused]] Scratch& scratch) const noexcept {
    if constexpr (std::is_same_v<T, float>) {
      return rows.row(node);
    } else {
      widen(&rows.row(node)->bits, dim, scratch.values.data());
      return scratch.values.data();
    }
  }

  void distances(Query query, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept {
    kernel(query, dim, rows, nodes, n, out);
  }

  /// Compact `nodes` and `out` to the distances below `bound`; their number.
  std::size_t distances_below(Query query, std::uint32_t* nodes, std::size_t n, float bound,
                              float* out) const noexcept {
    if constexpr (std::is_same_v<T, float>) {
      if (below != nullptr) return below(query, dim, stage, rows, nodes, n, bound, out);
    }
    distances(query, nodes, n, out);
    return compact_below(nodes, n, bound, out);
  }

  /// For products in tiles: tile_row() writes tile_dim() floats such that the distance of two points is
  /// scale() * (term + term - product of their rows), up to rounding. Returns the term.
  std::size_t tile_dim() const noexcept { return dim; }
  float scale() const noexcept { return l2 ? 2.0f : 1.0f; }
  float tile_row(std::uint32_t node, float* out) const noexcept {
    if constexpr (std::is_same_v<T, float>)
      std::copy_n(rows.row(node), dim, out);
    else
      widen(&rows.row(node)->bits, dim, out);
    return l2 ? -ip(out, out, dim) / 2 : 0.0f;
  }
};
using VectorPoints = RowPoints<float>;
using HalfPoints = RowPoints<kernels::Half>;

/// The stored vectors, measured by the caller's function: the one form whose distances may throw.
struct UserPoints {
  using Query = const float*;
  struct Scratch {
    explicit Scratch(const UserPoints&) {}
  };

  const Graph* graph;

  Query query(std::uint32_t node, Scratch&) const noexcept { return graph->vectors.row(node); }
  /// @throws std::invalid_argument for NaN, and whatever the function throws
  void distances(Query query, const std::uint32_t* nodes, std::size_t n, float* out) const;
  std::size_t distances_below(Query query, std::uint32_t* nodes, std::size_t n, float bound,
                              float* out) const {
    distances(query, nodes, n, out);
    return compact_below(nodes, n, bound, out);
  }
};

/// Whether products in tiles find near points of a kind; otherwise only their distances do.
template <class P>
inline constexpr bool kHasTiles = requires(const P& points, float* out) { points.tile_row(0u, out); };

/// Codes of all vectors, compared with each other in whole numbers: squared differences for l2 and cosine,
/// products with a term for what the codes are centered on for inner products. The graph that is built on
/// them is the same on every instruction set.
struct PairPoints {
  using Query = const kernels::CodePoint&;
  struct Scratch {
    explicit Scratch(const PairPoints& points) : values(points.layout.value_bytes(points.rows.stride)) {}
    AlignedArray<std::int8_t> values;
    kernels::CodePoint point{};
  };

  kernels::RowBlocks<std::uint8_t> rows;
  const kernels::CodeTerms* terms;
  kernels::CodePairsKernel kernel;
  CodeLayout layout;
  bool l2;

  Query query(std::uint32_t node, Scratch& scratch) const noexcept {
    scratch.point = pair_point(rows.row(node), layout, scratch.values.data(), rows.stride, terms[node]);
    return scratch.point;
  }
  void prefetch(std::uint32_t node) const noexcept {
    const std::uint8_t* code = rows.row(node);
    for (std::size_t i = 0; i < rows.stride; i += kCacheLine) __builtin_prefetch(code + i);
    __builtin_prefetch(terms + node);
  }
  void distances(Query point, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept {
    kernel(point, rows, terms, nodes, n, out);
  }
  std::size_t distances_below(Query point, std::uint32_t* nodes, std::size_t n, float bound,
                              float* out) const noexcept {
    distances(point, nodes, n, out);
    return compact_below(nodes, n, bound, out);
  }

  std::size_t tile_dim() const noexcept { return round_up(layout.dim, kernels::kCodeLine); }
  float scale() const noexcept { return l2 ? 2.0f : 1.0f; }
  float tile_row(std::uint32_t node, float* out) const noexcept {
    const std::uint8_t* code = rows.row(node);
    const auto zero = static_cast<float>(layout.zero());
    if (layout.nibbles())
      for (std::size_t c = 0; c < layout.dim; ++c) out[c] = static_cast<float>(layout.at(code, c)) - zero;
    else
      for (std::size_t c = 0; c < layout.dim; ++c) out[c] = static_cast<float>(code[c]) - zero;
    std::fill(out + layout.dim, out + tile_dim(), 0.0f);
    return static_cast<float>(static_cast<std::int32_t>(terms[node].row)) / scale();
  }
};

PairPoints pair_points(const BlockRows<std::uint8_t>& rows, const kernels::CodeTerms* terms,
                       CodeLayout layout, Metric metric);

/// fn(points) for the form in which an index keeps its vectors.
template <class Fn>
auto with_row_points(const Graph& graph, const Fn& fn) {
  if (graph.rows_are_codes())
    return fn(pair_points(graph.codes, graph.code_terms.data(),
                          graph.in_bytes() ? CodeLayout{graph.dim} : graph.quantizer.layout(),
                          graph.params.metric));
  if (graph.params.metric == Metric::kUser) return fn(UserPoints{&graph});
  return graph.in_halves() ? fn(HalfPoints(graph)) : fn(VectorPoints(graph));
}

/// Codes beside vectors. They are only searched in, not linked.
struct ScalarCodePoints {
  using Query = const kernels::CodeQuery&;

  kernels::RowBlocks<std::uint8_t> rows;
  kernels::CodeIdsKernel kernel;

  void distances(const kernels::CodeQuery& query, const std::uint32_t* nodes, std::size_t n,
                 float* out) const noexcept {
    kernel(query, rows, nodes, n, out);
  }
  std::size_t distances_below(const kernels::CodeQuery& query, std::uint32_t* nodes, std::size_t n,
                              float bound, float* out) const noexcept {
    distances(query, nodes, n, out);
    return compact_below(nodes, n, bound, out);
  }
};

/// Codes of a product quantizer. A query is a table: 256 distances for each group of coordinates that counts.
struct ProductCodePoints {
  using Query = const float*;

  kernels::RowBlocks<std::uint8_t> rows;
  std::span<const std::uint32_t> groups;

  ProductCodePoints(const BlockRows<std::uint8_t>& rows_, std::span<const std::uint32_t> groups_)
      : rows{rows_.blocks(), rows_.shift(), rows_.mask(), rows_.stride()}, groups(groups_) {}

  void distances(const float* table, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept;
  std::size_t distances_below(const float* table, std::uint32_t* nodes, std::size_t n, float bound,
                              float* out) const noexcept;
};

/// Rows in the caller's order of coordinates, measured in canonical arithmetic: what is chosen among them is
/// the same on every instruction set and device.
struct CanonicalPoints {
  using Query = const float*;

  MatrixView<const float> rows;
  kernels::PairKernel kernel;
  std::size_t dim;

  CanonicalPoints(MatrixView<const float> rows_, Metric metric)
      : rows(rows_),
        kernel(kernels::metric_kernels(kernels::active_table(), metric).canonical),
        dim(rows_.cols) {}

  struct Scratch {
    explicit Scratch(const CanonicalPoints&) {}
  };
  const float* query(std::uint32_t node, Scratch&) const noexcept { return rows.row(node); }
  void prefetch(std::uint32_t node) const noexcept {
    for (std::size_t j = 0; j < dim; j += kCacheLine / sizeof(float)) __builtin_prefetch(rows.row(node) + j);
  }
  void distances(const float* query, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept {
    for (std::size_t i = 0; i < n; ++i) out[i] = kernel(query, rows.row(nodes[i]), dim);
  }
};

inline ScalarCodePoints traversal_points(const Graph& graph) {
  return {{graph.codes.blocks(), graph.codes.shift(), graph.codes.mask(), graph.codes.stride()},
          graph.quantizer.ids_kernel(kernels::metric_kernels(kernels::active_table(), graph.params.metric))};
}

/// Codes of all vectors to build on, with the terms of their distances.
struct PairCodes {
  BlockRows<std::uint8_t> rows{1};
  CountedVector<kernels::CodeTerms> terms;
  CodeLayout layout;

  bool empty() const noexcept { return layout.dim == 0; }
  PairPoints points(Metric metric) const { return pair_points(rows, terms.data(), layout, metric); }
};

/// Empty if there are too few vectors to learn from, codes would blur the neighborhoods, or vectors are not
/// floats.
PairCodes encode_pairs(const Graph& graph, std::size_t threads);

/// fn(points) for what links are chosen by: codes in a fraction of the bytes, if it is worth it to encode all
/// vectors, or else the form in which the index keeps them. Strictly sequential insertion does without codes:
/// it gives one graph, however the vectors are spread over calls.
template <class Fn>
void with_link_points(const Graph& graph, bool worth_encoding, std::size_t threads, const Fn& fn) {
  PairCodes codes;
  if (worth_encoding && graph.params.batch_growth > 1) codes = encode_pairs(graph, threads);
  if (codes.empty())
    with_row_points(graph, fn);
  else
    fn(codes.points(graph.params.metric));
}

}  // namespace whimbrel
