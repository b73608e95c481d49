// MultiVectorIndex: documents as sets of token vectors, found by one vector each and ranked by exact MaxSim.
//
// Jayaram et al., "MUVERA" (arXiv 2405.19504), section 3.2. What the one vector is, an FDE or the mean of the
// tokens or something learned, is the caller's: it comes in as an array. Documents are numbered 0, 1, ... in
// the order of addition; names for them are the caller's too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "whimbrel/byte_io.hpp"
#include "whimbrel/export.h"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/progress.hpp"
#include "whimbrel/ragged_view.hpp"
#include "whimbrel/token_store.hpp"

namespace whimbrel {

struct MultiVectorParams {
  std::size_t dim = 0;           ///< of a token
  std::size_t encoding_dim = 0;  ///< of the one vector
  TokenType store = TokenType::kFloat16;
  HnswParams graph = {.metric = Metric::kIp};  ///< over the encodings
};

struct MultiVectorSearch {
  std::size_t k = 10;
  std::size_t candidates = 200;  ///< documents per query that are ranked exactly; at least k
  std::size_t ef_search = 0;     ///< beam width in the graph; never used below what it has to give
  /// One value per document, 0 for those that must not be returned; empty: all may.
  std::span<const std::uint8_t> allowed = {};
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in units of work
};

/// Thread safety: any number of `const` calls may run at once; a non-const call waits for them and excludes
/// them.
class WHIMBREL_API MultiVectorIndex {
 public:
  /// @throws std::invalid_argument
  explicit MultiVectorIndex(const MultiVectorParams& params);
  ~MultiVectorIndex();
  MultiVectorIndex(MultiVectorIndex&&) noexcept;
  MultiVectorIndex& operator=(MultiVectorIndex&&) noexcept;

  /// Append documents with their encodings: all of them or, if it throws, none.
  /// @param progress  in documents; must not call the index
  /// @throws std::invalid_argument wrong shapes or values, an index that was loaded with mmap or compressed
  void add(MatrixView<const float> encodings, const RaggedView& docs, std::size_t threads = 0,
           ProgressFn progress = {});

  /// The best k of the candidates of each query by exact MaxSim, best first, equal scores by number; missing:
  /// -1 and -inf. Documents without tokens, removed ones and those not allowed are never returned; of the
  /// others there are k if they exist, since where the graph gives too few, or few are allowed, all that are
  /// allowed are ranked. A query without tokens has no results.
  /// @param ids, scores  (queries.size(), params.k), C order
  void search(MatrixView<const float> encodings, const RaggedView& queries, const MultiVectorSearch& params,
              std::int64_t* ids, float* scores) const;

  /// Never return these documents again. Their room is not freed.
  /// @throws std::out_of_range, with nothing changed, for a number that does not exist
  void remove(std::span<const std::int64_t> ids);

  /// Keep encodings as codes of a product quantizer from now on: a byte for every 8 coordinates, and 1 kB per
  /// coordinate for its codebook, which is trained on the documents (thousands are a good sample). Links stay
  /// as they are; searches follow them by the codes, and rank exactly as before. Takes no additions then.
  /// @throws std::invalid_argument an index without documents, or a compressed one
  void compress(std::uint64_t seed = 0, std::size_t threads = 0, const ProgressFn& progress = {});
  bool compressed() const;

  std::size_t size() const;  ///< documents added, removed ones too
  std::size_t n_alive() const;
  std::vector<std::uint8_t> removed() const;  ///< one per document, 1 if it was removed
  std::size_t n_tokens() const;
  bool mapped() const;
  MultiVectorParams params() const;
  /// Bytes of graph, encodings and tokens in use; without the tokens if they are mapped from a file.
  std::size_t memory_usage() const;

  /// `metadata` is the caller's, and comes back from load().
  /// @throws std::system_error
  void save(const std::string& path, std::span<const char> metadata) const;
  void save(const ByteSink& sink, std::span<const char> metadata) const;
  struct Loaded;
  /// With `mmap`, tokens stay in the file, which must not change while the index lives; such an index takes
  /// no additions. The whole file is read once to verify it.
  /// @throws FormatError for anything that is not a whole, undamaged index of a known version
  static Loaded load(const std::string& path, bool mmap = false);
  static Loaded load(const ByteSource& source);
  /// From a file in memory, whose address is a multiple of 4: as with `mmap`, tokens stay there, and `bytes`
  /// must outlive the index and not change. Encodings and graph are copied.
  static Loaded view(std::span<const std::byte> bytes);

  struct Impl;

 private:
  explicit MultiVectorIndex(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

struct MultiVectorIndex::Loaded {
  MultiVectorIndex index;
  std::string metadata;
};

}  // namespace whimbrel
