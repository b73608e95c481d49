// What stands behind MultiVectorIndex: a graph over encodings, a store of tokens, and marks of what is gone.
#pragma once

#include <cstdint>
#include <shared_mutex>
#include <vector>

#include "whimbrel/hnsw.hpp"
#include "whimbrel/multi_vector_index.hpp"
#include "whimbrel/token_store.hpp"

namespace whimbrel {

struct MultiVectorIndex::Impl {
  explicit Impl(const MultiVectorParams& p)
      : params(p), graph(p.encoding_dim, p.graph), tokens(p.dim, p.store) {}

  MultiVectorParams params;
  HnswIndex graph;
  TokenStore tokens;
  std::vector<std::uint8_t> removed;  // one per document
  std::size_t n_removed = 0;
  mutable std::shared_mutex mutex;
};

}  // namespace whimbrel
