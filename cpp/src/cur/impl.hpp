// What stands behind CurIndex, and the steps that fit() shares with the calls that change it.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <functional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "cur/features.hpp"
#include "whimbrel/cur.hpp"

namespace whimbrel {

struct CurIndex::Impl {
  Impl(std::size_t queries, std::size_t dim, const CurParams& p)
      : params(p), n_queries(queries), features(dim, p.storage) {}

  CurParams params;
  std::size_t n_queries;
  ItemFeatures features;
  CountedVector<float> mean;        // score of each item, the average anchor query
  CountedVector<float> first_mean;  // the same of the first stage; empty without one
  double slope = 0;                 // scores per unit of the first stage, both centered
  // What first stages of queries are compared by (first_stage.hpp), if gain is not 0.
  double first_gain = 0, first_ridge = 0;
  std::size_t fitted_size = 0;          // items when the sample was taken
  Eigen::MatrixXf first_sample;         // (n_queries, sample), above the means
  Eigen::MatrixXd first_factor;         // lower Cholesky factor
  double scale = 1;                     // mean squared norm of a feature row
  Eigen::MatrixXd projection;           // (n_queries, rank); empty without a rank
  CountedVector<std::uint8_t> removed;  // 1: never proposed
  std::uint64_t changes = 0;            // a search under way must not see another one
  mutable std::shared_mutex mutex;

  std::size_t size() const noexcept { return features.size(); }
  bool has_first_stage() const noexcept { return !first_mean.empty(); }
};

/// Means of rows [first, first + scores.cols) of the index from the columns of `scores`, and their features.
void set_items(CurIndex::Impl& impl, std::size_t first, MatrixView<const float> scores,
               MatrixView<const float> first_stage, std::size_t threads,
               const std::function<void(std::size_t)>& poll);

/// Comparing first stages needs no more items than this, and a subspace no more than that.
inline constexpr std::size_t kFirstSample = 2048, kSampleItems = 65536;

/// Sum of x x^T over at most `max_items` evenly spaced ones of n rows, times n / their number. `row` fills
/// dim values.
Eigen::MatrixXd sample_gram(std::size_t n, std::size_t dim, std::size_t max_items, std::size_t threads,
                            const std::function<void(std::size_t, float*)>& row);

/// @throws std::invalid_argument unless it is (rows, cols) and finite
void check_shape(const char* name, MatrixView<const float> matrix, std::size_t rows, std::size_t cols);
/// @throws std::out_of_range for an id that does not exist, std::invalid_argument for one that comes twice
void check_items(std::span<const std::int64_t> item_ids, std::size_t n);

}  // namespace whimbrel
