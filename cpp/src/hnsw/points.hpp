// What graph algorithms measure: the stored vectors, or codes of them in half the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/bfloat16.hpp"
#include "hnsw/graph.hpp"
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

/// Rows of T and the kernel for them. Distances between two of these points are symmetric, bit for bit.
template <class T>
struct Points {
  using Query = const float*;

  kernels::RowBlocks<T> rows;
  kernels::IdsKernel<T> kernel;
  std::size_t dim;                       // padded: a query has this many floats
  kernels::BelowKernel below = nullptr;  // gives rows up early, where that pays (float rows only)
  std::size_t stage = 0;                 // after so many coordinates

  Points(const BlockRows<T>& rows_, kernels::IdsKernel<T> kernel_, std::size_t dim_)
      : rows{rows_.blocks(), rows_.shift(), rows_.mask(), rows_.stride()}, kernel(kernel_), dim(dim_) {}

  /// A point in the form of a query: the row itself, or widened into `scratch` (dim floats).
  const float* query(std::uint32_t node, float* scratch) const noexcept {
    if constexpr (std::is_same_v<T, float>) {
      return rows.row(node);
    } else {
      const T* row = rows.row(node);
      for (std::size_t i = 0; i < dim; ++i) scratch[i] = from_bf16(row[i]);
      return scratch;
    }
  }

  void distances(const float* query, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept {
    kernel(query, dim, rows, nodes, n, out);
  }

  /// Compact `nodes` and `out` to the distances below `bound`; their number.
  std::size_t distances_below(const float* query, std::uint32_t* nodes, std::size_t n, float bound,
                              float* out) const noexcept {
    if constexpr (std::is_same_v<T, float>) {
      if (below != nullptr) return below(query, dim, stage, rows, nodes, n, bound, out);
    }
    distances(query, nodes, n, out);
    return compact_below(nodes, n, bound, out);
  }
};

/// Codes of a byte per coordinate. They are only searched in, not linked.
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
  MatrixView<const float> rows;
  kernels::PairKernel kernel;
  std::size_t dim;

  CanonicalPoints(MatrixView<const float> rows_, Metric metric)
      : rows(rows_),
        kernel(kernels::metric_kernels(kernels::active_table(), metric).canonical),
        dim(rows_.cols) {}

  const float* query(std::uint32_t node, float*) const noexcept { return rows.row(node); }
  void prefetch(std::uint32_t node) const noexcept {
    for (std::size_t j = 0; j < dim; j += kCacheLine / sizeof(float)) __builtin_prefetch(rows.row(node) + j);
  }
  void distances(const float* query, const std::uint32_t* nodes, std::size_t n, float* out) const noexcept {
    for (std::size_t i = 0; i < n; ++i) out[i] = kernel(query, rows.row(nodes[i]), dim);
  }
};

inline Points<float> vector_points(const Graph& graph) {
  Points<float> points(graph.vectors,
                       kernels::metric_kernels(kernels::active_table(), graph.params.metric).fast_ids,
                       graph.vectors.stride());
  if (!graph.dim_order.empty()) {
    points.below = kernels::active_table().l2_ids_below;
    points.stage = round_up(graph.dim / 4, kCacheLine / sizeof(float));
  }
  return points;
}

inline Points<kernels::Bf16> code_points(const Graph& graph, const BlockRows<kernels::Bf16>& codes) {
  return {codes, kernels::metric_kernels(kernels::active_table(), graph.params.metric).fast_ids_bf16,
          graph.vectors.stride()};
}

inline ScalarCodePoints traversal_points(const Graph& graph) {
  return {{graph.codes.blocks(), graph.codes.shift(), graph.codes.mask(), graph.codes.stride()},
          kernels::metric_kernels(kernels::active_table(), graph.params.metric).code_ids};
}

/// bfloat16 codes of all vectors, centered on their mean for l2; empty if they would blur the neighborhoods.
BlockRows<kernels::Bf16> encode_vectors(const Graph& graph, std::size_t threads);

}  // namespace whimbrel
