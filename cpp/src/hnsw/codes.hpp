// Keeping the codes that searches run on in step with the vectors.
#pragma once

#include <cstddef>

#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/search.hpp"

namespace whimbrel {

/// A quantizer and the codes of all rows, learned but not in use yet.
struct LearnedCodes {
  ScalarQuantizer quantizer;
  BlockRows<std::uint8_t> codes{1};
  CountedVector<kernels::CodeTerms> terms;  // where codes take the place of the vectors
  BlockRows<float> vectors{1};              // which are here afterwards
  std::size_t trained_size = 0;             // 0: nothing was learned
};

/// After rows were stored: encode the new ones behind the others, or learn anew from all. If it throws, or
/// if the rows are dropped again, what there was is as before.
LearnedCodes encode_new_rows(Graph& graph, std::size_t threads, SliceMutex& state);
/// True if searches run on other codes from now on; the old ones are left in their place. With Rerank::kNone
/// the vectors go there too.
bool use_codes(Graph& graph, LearnedCodes& learned) noexcept;

/// The scratch's query, in the form of store_row, becomes a code too.
void hold_code_query(const Graph& graph, SearchScratch& scratch);
/// Terms of distances between codes, for all rows. Empty if they might overflow.
CountedVector<kernels::CodeTerms> code_terms(const ScalarQuantizer& quantizer, Metric metric,
                                             const BlockRows<std::uint8_t>& codes);

}  // namespace whimbrel
