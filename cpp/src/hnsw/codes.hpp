// Keeping the codes that searches run on in step with the vectors.
#pragma once

#include <cstddef>

#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"

namespace whimbrel {

/// A quantizer and the codes of all rows, learned but not in use yet.
struct LearnedCodes {
  ScalarQuantizer quantizer;
  BlockRows<std::uint8_t> codes{1};
  std::size_t trained_size = 0;  // 0: nothing was learned
};

/// After rows were stored: encode the new ones behind the others, or learn anew from all. If it throws, or
/// if the rows are dropped again, what there was is as before.
LearnedCodes encode_new_rows(Graph& graph, std::size_t threads, SliceMutex& state);
/// True if searches run on other codes from now on.
bool use_codes(Graph& graph, LearnedCodes&& learned) noexcept;

}  // namespace whimbrel
