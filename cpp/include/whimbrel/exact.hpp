// Exact nearest neighbors: the oracle of every test and the input of LID estimation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"
#include "whimbrel/progress.hpp"

namespace whimbrel {

struct KnnParams {
  std::size_t k = 10;  ///< neighbors per query, at least 1
  Metric metric = Metric::kL2;
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in queries
};

/// The k rows of `data` nearest to each row of `queries`, nearest first, equal distances by row number.
///
/// Distances are in the canonical arithmetic (same bits for any thread count and instruction set), and the
/// neighbors are exactly those of a full sort by (canonical distance, row number). With fewer than k rows
/// the rest is id -1, distance +inf. Values must be finite; a row whose distance overflows float is never
/// returned.
///
/// @param ids, distances  (queries.rows, k), C order, written by this call
/// @throws std::invalid_argument if k = 0, if the columns differ, or on a non-finite value
WHIMBREL_API void knn(MatrixView<const float> data, MatrixView<const float> queries, const KnnParams& params,
                      std::int64_t* ids, float* distances);

/// The same with `data` as its own queries, each row's own entry left out (by row number, not by distance:
/// exact duplicates of a row are its neighbors at distance 0).
WHIMBREL_API void knn_self(MatrixView<const float> data, const KnnParams& params, std::int64_t* ids,
                           float* distances);

/// The same for the rows from `first` on, each of which finds only rows before itself: row i those of [0, i).
///
/// @param ids, distances  (data.rows - first, params.k)
/// @throws std::invalid_argument also if first > data.rows
WHIMBREL_API void knn_earlier(MatrixView<const float> data, std::size_t first, const KnnParams& params,
                              std::int64_t* ids, float* distances);

/// distances[i * data.rows + j] = distance of query i to row j, in the canonical arithmetic.
///
/// @param threads    0: all; does not change the result
/// @param distances  (queries.rows, data.rows), C order, written by this call
/// @throws std::invalid_argument if the columns differ or on a non-finite value
WHIMBREL_API void pairwise_distances(MatrixView<const float> data, MatrixView<const float> queries,
                                     Metric metric, std::size_t threads, const ProgressFn& progress,
                                     float* distances);

}  // namespace whimbrel
