// Exact late-interaction scores of sets of token vectors (MaxSim, or Chamfer similarity):
//
//   score(Q, P) = sum over q in Q of max over p in P of <q, p>
//
// Khattab and Zaharia, "ColBERT", 2020; Jayaram et al., "MUVERA" (arXiv 2405.19504), section 1.1. Larger is
// better.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "whimbrel/export.h"
#include "whimbrel/progress.hpp"
#include "whimbrel/ragged_view.hpp"
#include "whimbrel/token_store.hpp"

namespace whimbrel {

struct MaxSimParams {
  bool normalize = false;    ///< divide by the number of query tokens
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in units of work
};

/// Scores of all queries with all documents: (queries.size(), docs.size()), C order.
///
/// Inner products are in the canonical arithmetic and are added in double precision by token, so a score has
/// the same bits for any thread count and instruction set, and whatever else is scored beside it. A document
/// without tokens scores -inf; a query without tokens scores 0 with every other document. A score that
/// overflows float is -inf too.
///
/// @throws std::invalid_argument if dimensions differ, offsets are bad, or a value is not finite
WHIMBREL_API void maxsim_matrix(const RaggedView& queries, const RaggedView& docs, const MaxSimParams& params,
                                float* scores);
WHIMBREL_API void maxsim_matrix(const RaggedView& queries, const TokenStore& docs, const MaxSimParams& params,
                                float* scores);

/// Documents to score for each query: those of query i are ids[offsets[i]] to ids[offsets[i + 1]]; -1 stands
/// for none and scores -inf.
struct DocumentLists {
  std::span<const std::int64_t> offsets;
  std::span<const std::int64_t> ids;
};

/// One score per entry of the lists. Of the documents only those named are looked at.
/// @throws std::out_of_range for an id that is neither -1 nor a document
WHIMBREL_API void maxsim_lists(const RaggedView& queries, const RaggedView& docs, const DocumentLists& lists,
                               const MaxSimParams& params, float* scores);
WHIMBREL_API void maxsim_lists(const RaggedView& queries, const TokenStore& docs, const DocumentLists& lists,
                               const MaxSimParams& params, float* scores);

}  // namespace whimbrel
