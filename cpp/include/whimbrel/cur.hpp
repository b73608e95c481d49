// CurIndex: scores of all items for a query, completed from the scores of a few.
//
// An expensive scorer (a cross-encoder) is known on k_q anchor queries x n items. The scores of a new query
// are predicted by ridge regression on the columns of that matrix: f(q, i) = mean_i + y . v_i, where v_i is
// the centered column of item i and y is fitted to the few items that were scored. This is ANNCUR (Yadav et
// al., "Efficient nearest neighbor search for cross-encoder models using matrix factorization", EMNLP 2022)
// with a regularized pseudo-inverse. The index never calls the scorer; CurSearch (cur_search.hpp) decides
// what to score next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "whimbrel/byte_io.hpp"
#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/progress.hpp"

namespace whimbrel {

enum class CurStorage {
  kFloat32,
  kFloat16,  ///< half the memory and half the time of a pass; centered scores up to 65504
  kInt8,     ///< a quarter of both; each item's features in 255 steps
};

struct CurParams {
  CurStorage storage = CurStorage::kFloat32;
  /// Subtract each item's mean score over the anchor queries, and add it to predictions. Without it, adding a
  /// constant to all scores changes the ranking.
  bool center = true;
  /// A constant feature: a query may score all items higher or lower than others do.
  bool intercept = false;
  /// Keep this many singular directions of the features; 0: all. Less memory, and less noise.
  std::size_t rank = 0;
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in items
};

/// How anchor items are chosen for searches that begin with fixed ones.
enum class AnchorRule {
  kRandom,
  kTop,       ///< highest mean score over the anchor queries
  kKMeans,    ///< the item nearest to each center of a k-means clustering of the features
  kLeverage,  ///< sampled by leverage in the leading singular directions (Mahoney and Drineas, PNAS 2009)
  kL2Greedy,  ///< each step lowers the mean squared error of predicting all items from the chosen ones most
};

class GreedyPasses;  // cur_greedy.hpp

/// Who can find the items of largest inner products faster than this class, on a GPU say, proposes items to
/// retrieve(), which then looks at these alone where a bound proves that no other can be among the best.
struct CurProposer {
  /// The m items whose rows of item_vectors() have the largest inner products with each of `queries`
  /// (q, dim() + 1), exactly and in canonical arithmetic: ids (q, m) and products (q, m), largest first. The
  /// smallest of a row counts for all that are not in it. Missing: id -1.
  std::function<void(MatrixView<const float> queries, std::size_t m, std::int64_t* ids, float* products)>
      find;
  double largest_norm = 0;  ///< of a row of item_vectors(), or more
};

struct CurQueryOptions {
  /// Ridge parameter, in squared units of the scores; negative: chosen by leave-one-out on the scored items.
  double mu = -1;
  std::size_t threads = 0;  ///< 0: all; does not change the result
  /// Of retrieve(), for queries without a first stage; does not change the result.
  const CurProposer* proposer = nullptr;
};

/// Thread safety: any number of `const` calls may run at once; a non-const call waits for them and excludes
/// them.
class WHIMBREL_API CurIndex {
 public:
  /// @param anchor_scores  (k_q, n), a row per anchor query
  /// @param first_stage    the scores of a cheap first stage on the same pairs, or empty. If given, its share
  /// is
  ///                       subtracted, the features describe what it does not explain, and every later call
  ///                       needs the first stage's scores too.
  /// @throws std::invalid_argument for an empty matrix, other shapes, non-finite values, or values that the
  /// storage
  ///         cannot hold
  static CurIndex fit(MatrixView<const float> anchor_scores, const CurParams& params,
                      MatrixView<const float> first_stage = {});
  ~CurIndex();
  CurIndex(CurIndex&&) noexcept;
  CurIndex& operator=(CurIndex&&) noexcept;

  std::size_t size() const;          ///< items, removed ones included: ids are 0..size() - 1
  std::size_t n_removed() const;     ///< items that are never proposed any more
  std::size_t n_queries() const;     ///< anchor queries
  std::size_t dim() const;           ///< of the features: n_queries(), or the rank
  bool has_first_stage() const;      ///< whether it was fitted with a first stage
  CurParams params() const;          ///< threads and progress are defaults
  std::size_t memory_usage() const;  ///< bytes of features, means and marks

  /// Predicted scores of all items. Removed items have a score like any other.
  ///
  /// Canonical arithmetic: the same bits for any number of threads and instruction set.
  /// @param item_ids     scored items, distinct
  /// @param scores       (q, item_ids.size()) exact scores, a row per query
  /// @param first_stage  (q, size()), or empty
  /// @param out          (q, size()), checked: the index may have grown since it was made
  void approximate(std::span<const std::int64_t> item_ids, MatrixView<const float> scores,
                   MatrixView<const float> first_stage, const CurQueryOptions& options,
                   std::span<float> out) const;

  /// The k items of highest predicted score, best first, equal scores by id; missing: id -1, score -inf.
  /// Neither removed items nor, with `exclude_scored`, those of `item_ids`.
  void retrieve(std::span<const std::int64_t> item_ids, MatrixView<const float> scores,
                MatrixView<const float> first_stage, std::size_t k, bool exclude_scored,
                const CurQueryOptions& options, std::int64_t* ids, float* out) const;

  /// Distinct items that are not removed, in the order of choice; fewer if there are fewer.
  /// @param passes  of kL2Greedy: what goes over the items in place of the CPU; does not change the result
  std::vector<std::int64_t> select_anchors(std::size_t count, AnchorRule rule, std::uint64_t seed,
                                           std::size_t threads = 0, const ProgressFn& progress = {},
                                           GreedyPasses* passes = nullptr) const;

  /// Rows [features, mean above the average] of all items, (size(), dim() + 1). Inner products with
  /// CurSearch::query_vector() are predictions up to a constant: what to build a graph of for
  /// CurSearch::next_items(candidates).
  void item_vectors(std::span<float> out) const;
  /// Of the features, descending, estimated on at most 65,536 of the items.
  std::vector<double> singular_values(std::size_t threads = 0) const;
  /// Mean score of each item over the anchor queries; zeros without centering.
  std::vector<float> item_means() const;

  /// Append items; their ids continue. @param scores  (n_queries(), m), as are `first_stage`
  void add_items(MatrixView<const float> scores, MatrixView<const float> first_stage = {});
  /// Never propose these again; ids of others stay. @throws std::out_of_range
  void remove(std::span<const std::int64_t> item_ids);
  /// More anchor queries. @param scores  (m, size()), as are `first_stage`. Not with a rank.
  void add_queries(MatrixView<const float> scores, MatrixView<const float> first_stage = {});

  /// @throws std::system_error
  void save(const std::string& path) const;
  void save(const ByteSink& sink) const;
  /// @throws FormatError for anything that is not a whole, undamaged index of a known version
  static CurIndex load(const std::string& path);
  static CurIndex load(const ByteSource& source);

  struct Impl;

 private:
  friend class CurSearch;
  explicit CurIndex(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whimbrel
