// The form in which vectors are stored.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "hnsw/graph.hpp"
#include "hnsw/pair_terms.hpp"
#include "whimbrel/matrix_view.hpp"

namespace whimbrel {

/// Coordinates of an l2 index by falling variance of the first vectors added, if that makes a part of a
/// distance tell enough of the whole to read no more (kernel_table.hpp, BelowKernel); else empty.
std::vector<std::uint32_t> choose_dim_order(const Graph& graph, MatrixView<const float> vectors);

/// Normalized for cosine, coordinates in the index's order, zeros up to the padded length.
void store_row(const Graph& graph, const float* row, float* out);

/// For whichever form the index keeps: allocate what `resize_rows` takes, while others read.
void prepare_rows(Graph& graph, std::size_t n);
void resize_rows(Graph& graph, std::size_t n);
/// Stores floats in whichever form the index keeps, for one thread.
class RowWriter {
 public:
  explicit RowWriter(Graph& graph);
  /// `row` becomes the row of a node.
  void put(std::uint32_t node, const float* row);

 private:
  Graph& graph_;
  std::vector<float> stored_;
  std::optional<ScalarQuantizer::Scratch> codes_;  // where there are only codes
  std::optional<PairTerms> terms_;
};
/// A stored row: the row itself, or float16 or a code widened into `scratch` (the length of stored floats).
const float* stored_row(const Graph& graph, std::uint32_t node, float* scratch);
void prefetch_row(const Graph& graph, std::uint32_t node);

/// A stored row with the caller's order of coordinates: the row itself, or a copy in `scratch`.
const float* caller_row(const Graph& graph, std::uint32_t node, float* scratch);

/// The vectors of an empty index become the caller's, who keeps them.
void borrow_rows(Graph& graph, MatrixView<const float> vectors);
void give_rows_back(Graph& graph);
/// @throws std::invalid_argument unless an index can use these rows as they are
void check_borrowable(const Graph& graph, MatrixView<const float> vectors);
/// For rows that the caller may have changed. @throws std::invalid_argument
void check_still_finite(const float* row, std::size_t dim, std::size_t number);
/// Of length 1, but for the rounding of whoever normalized it: its square is within `slack`. Or zero, which
/// has no length to give up.
bool is_normalized(const float* row, std::size_t dim, double slack);

/// Whether every value has a float16. @throws std::invalid_argument naming the first row that has none
void check_halves(MatrixView<const float> vectors);

}  // namespace whimbrel
