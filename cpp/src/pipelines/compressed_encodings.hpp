// Encodings of a graph as codes of a product quantizer, and the search over them. The graph has its links and
// nothing else.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.hpp"
#include "quantize/product_quantizer.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/progress.hpp"

namespace whimbrel {

struct CompressedEncodings {
  CompressedEncodings(ProductQuantizer quantizer_)
      : quantizer(std::move(quantizer_)), codes(quantizer.groups()) {}

  ProductQuantizer quantizer;
  BlockRows<std::uint8_t> codes;  // one row per node

  std::size_t bytes() const noexcept { return quantizer.codebook().size() * sizeof(float) + codes.bytes(); }

  /// Like HnswIndex::search with the distances that the codes give; ids: (queries.rows, params.k).
  void search(const HnswIndex& graph, MatrixView<const float> queries, const SearchParams& params,
              std::int64_t* ids) const;
};

/// Codes of the vectors of a graph by inner product; the graph stays as it is.
CompressedEncodings compress_encodings(const HnswIndex& graph, std::uint64_t seed, std::size_t threads,
                                       const ProgressFn& progress);

}  // namespace whimbrel
