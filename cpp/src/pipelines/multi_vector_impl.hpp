// What stands behind MultiVectorIndex: a graph over encodings, a store of tokens, and marks of documents.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/file_map.hpp"
#include "base/index_mutex.hpp"
#include "exact/token_rows.hpp"
#include "pipelines/compressed_encodings.hpp"
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
  std::optional<CompressedEncodings> codes;  // instead of the vectors of the graph
  std::vector<std::uint8_t> removed;         // one per document: 1 if it was removed
  std::vector<std::uint8_t> findable;        // one per document: 1 if it is there and has tokens
  std::size_t n_removed = 0, n_findable = 0;
  mutable IndexMutex mutex;

  static Loaded read(const ByteSource& source, const std::shared_ptr<const FileMap>& map);
  static Loaded read_map(const std::shared_ptr<const FileMap>& map);

  /// The marks of documents that came since, from those of `removed`, as far as there are any.
  void mark_new() {
    const std::vector<std::int64_t>& offsets = tokens.impl().offsets;
    removed.resize(offsets.size() - 1);
    for (std::size_t doc = findable.size(); doc < removed.size(); ++doc) {
      findable.push_back(removed[doc] == 0 && offsets[doc] < offsets[doc + 1]);
      n_findable += findable.back();
      n_removed += removed[doc];
    }
  }
};

}  // namespace whimbrel
