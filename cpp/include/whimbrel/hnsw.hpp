// HnswIndex: approximate nearest neighbors by a hierarchical navigable small world graph.
//
// Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
// small world graphs", 2016. The order of insertion is the caller's, and construction is deterministic.
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
#include "whimbrel/codec.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/export.h"
#include "whimbrel/id_filter.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"
#include "whimbrel/progress.hpp"
#include "whimbrel/user_distance.hpp"
#include "whimbrel/vectors_view.hpp"

namespace whimbrel {

struct HnswParams {
  Metric metric = Metric::kL2;
  /// Links of a node on the upper levels; twice as many on level 0. 2..512; 12..32 suits most data.
  std::uint32_t M = 16;
  /// Beam width of the search that finds a new node's candidates, at least M is sensible. 1..1,000,000.
  std::uint32_t ef_construction = 200;
  /// Beam width of a search that does not name one.
  std::uint32_t ef_search = 64;
  /// Decides the level of each row: a pure function of (seed, row number), independent of the order.
  std::uint64_t seed = 0;
  /// How much the graph may grow per batch: points of a batch search the graph as it stood before the batch
  /// and see the earlier points of their own batch exactly. 1 inserts strictly one at a time.
  double batch_growth = 2.0;
  /// Fill level-0 lists with the nearest of the pruned candidates (keepPrunedConnections in Alg. 4).
  bool keep_pruned = true;
  /// What a search measures on its way; distances that are returned are those of the vectors. Codes are
  /// learned by the add that brings an index to 1,024 vectors (kAuto: 8,192), and again by one that finds
  /// four times the vectors they were learned from.
  Codec codec = Codec::kF32;
  /// kF16 needs another codec than kF32; kF16 as codec needs it. kNone needs kSq8, kSq4 or kAuto.
  Rerank rerank = Rerank::kF32;
  /// What Metric::kUser measures. Its codec is kF32, and it cannot be had with bulk_build.
  UserDistance distance = {};
  /// Of the index's vectors and of queries. Bytes are kept in a byte each and compared in whole numbers, by
  /// kL2 or kIp (for kCosine their lengths would have to be kept), up to 32,768 of them, with codec kF32.
  VectorType vector_type = VectorType::kFloat32;
};

struct AddOptions {
  /// Caller's ids, unique and not negative; empty: the row numbers continue.
  std::span<const std::int64_t> ids = {};
  /// Permutation of 0..n-1, the order of insertion; empty: as given.
  std::span<const std::int64_t> order = {};
  std::size_t threads = 0;   ///< 0: all; does not change the graph
  ProgressFn progress = {};  ///< in vectors
  /// False, for an empty index: it reads `vectors` where they are. They must outlive it, and it takes no
  /// changes. Who changes them gets other results, but never a crash. kF32 as rerank; for kCosine rows of
  /// length 1. Rows keep the caller's order of coordinates.
  bool copy = true;
  /// By row of the vectors, to study what each deserves; empty: the same for all. The highest level, at most
  /// 63; the beam of the search for candidates; and the links chosen among them, on upper levels at most M.
  std::span<const std::uint8_t> levels = {};
  std::span<const std::uint32_t> ef_construction = {};  ///< not with bulk_build
  std::span<const std::uint32_t> links = {};            ///< 1..2M; not with bulk_build
};

struct ChangeOptions {
  std::size_t threads = 0;   ///< 0: all; does not change the graph
  ProgressFn progress = {};  ///< in points that were looked at, or inserted
};

struct SaveOptions {
  /// False: the file has none, and load() gets them (LoadOptions::vectors). For an index that has no removed
  /// rows and keeps its vectors in float32.
  bool vectors = true;
};

struct LoadOptions {
  /// Leave vectors and codes in the file: loading reads the rest (and bytes once, for terms of their
  /// distances). The index takes no changes. While it lives nobody may shorten the file; who changes vectors
  /// in place gets other results, but never a crash. save() replaces a file, and the index goes on with the
  /// old one; on Windows nobody may replace it.
  bool mmap = false;
  /// With `mmap` or `vectors`: read vectors and codes all the same, to check them. Everything else always is.
  bool verify = false;
  /// Of a file without: those of the index when it was saved, in the order of ids() (of kCosine what
  /// get_vectors() returns), as AddOptions::copy = false takes them. A sample of them is compared.
  std::optional<MatrixView<const float>> vectors = {};
  /// Of an index with Metric::kUser, which is saved without it.
  UserDistance distance = {};
};

/// Ends a list that is not full.
inline constexpr std::uint32_t kNoLink = 0xffffffffu;

/// One level of an index to be linked at once.
struct LevelToLink {
  MatrixView<const float> rows;     ///< of the level, in the order of insertion; normalized for cosine
  Metric metric = Metric::kL2;      ///< kL2 or kIp
  std::size_t ef_construction = 0;  ///< candidates of a row: so many of the nearest rows before it
  std::size_t own = 0;              ///< links a row may choose among them
  std::size_t own_filled = 0;       ///< up to so many, pruned ones are put back
  std::size_t capacity = 0;         ///< of a list, which also holds the rows that chose this one
  std::size_t filled = 0;           ///< the same for a list that is selected again because they are too many
  std::size_t threads = 0;
  ProgressFn progress = {};  ///< in rows
};

/// Links a level. Out of its candidates (exact, by canonical distance and row) a row chooses by the rule of
/// Malkov and Yashunin, Alg. 4, in canonical arithmetic; its list is what it chose and who chose it, nearest
/// first, by the same rule again if they are more than `capacity`. So every linker gives the same lists.
///
/// lists (rows.rows, capacity): row numbers, kNoLink behind the last.
using LevelLinker = std::function<void(const LevelToLink& level, std::uint32_t* lists)>;

/// Finds candidates as knn_earlier does (whimbrel/exact.hpp), which is one.
using CandidateSource = std::function<void(MatrixView<const float> rows, std::size_t first,
                                           const KnnParams& params, std::int64_t* ids, float* distances)>;

/// The linker of the CPU.
WHIMBREL_API LevelLinker link_nearest(CandidateSource source);

struct SearchParams {
  std::size_t k = 10;
  std::size_t ef_search = 0;  ///< 0: the index's default; never used below k
  std::size_t threads = 0;    ///< 0: all; does not change the result
  ProgressFn progress = {};   ///< in queries
  /// What may be found: none, everything; one, for all queries; or one per query, null for everything.
  std::span<const IdFilter* const> filters = {};
  bool exact = false;  ///< measure everything that may be found, in canonical arithmetic
  /// In place of ef_search, one for each query, 1..1,000,000; for search() only.
  std::span<const std::uint32_t> efs = {};
};

/// What one search did, machine-independent.
struct SearchCounts {
  std::uint64_t distances = 0;  ///< distance computations, all levels, of codes and of vectors
  std::uint64_t hops = 0;       ///< expanded nodes on level 0
};

/// Hits of queries one after another: those of query q are [offsets[q], offsets[q + 1]), nearest first.
struct RangeResult {
  std::vector<std::int64_t> offsets;  ///< (queries + 1,)
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
};

/// The nearest other points of every point, nearest first; missing: id -1, distance +inf.
struct KnnGraph {
  std::vector<std::int64_t> ids;        ///< (n,), in row order
  std::vector<std::int64_t> neighbors;  ///< (n, k)
  std::vector<float> distances;         ///< (n, k)
};

struct TuneParams {
  /// Like those to come. None: points of the index, each searched for in the graph without it.
  VectorsView queries = MatrixView<const float>();
  double recall = 0.95;  ///< mean share of the true k nearest that is to be found, above 0, at most 1
  std::size_t k = 10;
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in queries, of one measurement after another
};

/// The beam width that a measurement found enough.
struct TunedEf {
  double recall = 0;  ///< asked for
  std::size_t k = 0;
  std::uint32_t ef_search = 0;
  double measured = 0;  ///< recall with it
};

struct HnswStats {
  std::size_t size = 0;
  std::size_t removed = 0;  ///< rows of removed points, until compact(); nothing else here counts them
  std::size_t max_level = 0;
  std::vector<std::size_t> level_sizes;       ///< nodes whose level is at least l
  std::vector<std::size_t> degree_histogram;  ///< level 0: nodes with out-degree i, i = 0..2M
  double mean_degree = 0;                     ///< level 0
  std::size_t code_dim = 0;                   ///< dimensions of a code; 0: searches measure the vectors
  bool projected = false;                     ///< codes are of a projection to code_dim dimensions
  std::uint32_t code_bits = 0;                ///< of a code, 8 or 4; 0: there are none
  std::size_t borrowed_bytes = 0;             ///< vectors and codes in a mapped file, not in memory_usage()
  double build_seconds = 0;                   ///< wall time spent in add() since construction or load
};

struct HnswValidation {
  std::size_t unreachable = 0;  ///< points that no path on level 0 reaches from the entry point
  std::size_t no_in_edges = 0;  ///< points without any incoming edge on level 0
  std::size_t dead_edges = 0;   ///< edges to a node that does not exist on that level, or to itself, or twice
};

/// Thread safety: any number of `const` calls may run at once. Of the calls that change the index one runs at
/// a time, and others wait for it. Meanwhile search, get_vectors, ids, neighbors, size and params go on; what
/// is being added is there for them when the call ends, what is removed is gone soon after it begins, 1,024
/// points at a time. They wait for slices of it only, in which a few hundred lists are written, and for a
/// query of others that a slice waits for. A search of many queries takes turns with them. All other calls
/// wait for the end of the change.
///
/// An index whose vectors are in a mapped file or the caller's takes no changes: add, remove, update, compact
/// and refine throw std::invalid_argument.
class WHIMBREL_API HnswIndex {
 public:
  /// An empty index. @throws std::invalid_argument if dim = 0 or a parameter is out of range
  HnswIndex(std::size_t dim, const HnswParams& params);
  ~HnswIndex();
  HnswIndex(HnswIndex&&) noexcept;
  HnswIndex& operator=(HnswIndex&&) noexcept;

  static HnswIndex build(VectorsView vectors, const HnswParams& params, const AddOptions& options = {});

  /// An index whose levels `link` links at once: with `link_nearest(knn_earlier)` from exact candidates,
  /// which takes time in the square of the rows. Ends with every point reachable. The graph does not depend
  /// on the threads; but for links to points that would be unreachable, nor on the instruction set.
  /// @throws std::invalid_argument as add does, and for lists that are none
  static HnswIndex bulk_build(MatrixView<const float> vectors, const HnswParams& params,
                              const AddOptions& options, const LevelLinker& link);

  /// Insert the rows of `vectors`. Either all of them are added or, if it throws, the index is unchanged.
  ///
  /// The same vectors, order, seed, parameters and sequence of calls give the same graph for any thread
  /// count.
  /// @throws std::invalid_argument wrong columns or type, non-finite value, bad ids, order or options by row,
  ///         beyond float16 if that is how vectors are kept
  /// @throws std::length_error more than 2^31 - 2 rows
  void add(VectorsView vectors, const AddOptions& options = {});

  /// Remove points: no search returns them from now on, and their ids may be used again. Their rows stay as
  /// places on the way to others, until an eighth of the points is gone and the links of the rest are chosen
  /// anew without them; compact() takes their room back. If that is cancelled, they are removed all the same.
  /// @throws std::out_of_range for an unknown id, with nothing changed
  void remove(std::span<const std::int64_t> ids, const ChangeOptions& options = {});

  /// Give points other vectors: a search sees either all of the old ones or all of the new. Either all are
  /// replaced or, if it throws, none. In the order of ids() they come last.
  /// @throws std::invalid_argument wrong columns or type, a non-finite value, an id twice, or not as many ids
  /// @throws std::out_of_range for an unknown id
  void update(std::span<const std::int64_t> ids, VectorsView vectors, const ChangeOptions& options = {});

  /// Take back the room of removed points: links to them are replaced, the other rows move up. These are
  /// copied beside searches; where there is no memory for that, they move in place and searches wait. What is
  /// found afterwards may differ. If it is stopped, some links are replaced.
  void compact(const ChangeOptions& options = {});

  /// Choose the links of all points again, by what the finished graph finds for them: recall then depends
  /// little on the order of insertion. Takes about three times as long as a build; lists stay within their
  /// room. Searches go on. The same index gives the same graph for any thread count. Links to removed points
  /// are replaced first, as by compact(); if it throws after that, the graph is as it was.
  void refine(const ChangeOptions& options = {});

  /// The approximate k nearest of each query, nearest first, equal distances by id; missing: id -1, distance
  /// +inf. Distances are canonical: the same bits for any thread count and instruction set. Where a filter
  /// allows at least k points, k are found; the fewer it allows, the more of them are measured, up to all.
  /// Distances of bytes are whole numbers, rounded to float above 2^24.
  /// @param ids, distances  (queries.rows, params.k), C order
  /// @param counts          (queries.rows,) or null
  /// @throws std::invalid_argument k = 0, wrong columns or type, non-finite values, efs out of range, a wrong
  /// number of them, of filters or places
  void search(VectorsView queries, const SearchParams& params, std::int64_t* ids, float* distances,
              SearchCounts* counts = nullptr) const;

  /// All points whose distance is below a radius, as far as they are found, by distance and id. For kIp the
  /// distance is the negated product, so these are the products above -radius. params.k is not used.
  /// @throws std::invalid_argument NaN, or as search does
  RangeResult range_search(VectorsView queries, float radius, const SearchParams& params = {}) const;

  /// The approximate k nearest other points of each point. A filter is one for all.
  /// @throws std::invalid_argument k = 0
  KnnGraph knn_graph(const SearchParams& params) const;

  /// Find the smallest beam with which searches reach a recall, as measured against exact ones on queries or
  /// on 256 of the points, spread evenly over the rows. It is kept and saved with the index.
  /// @throws std::invalid_argument a recall or k out of range, too few points, wrong columns, non-finite
  ///         values, or a recall that searches of all points do not reach
  TunedEf tune(const TuneParams& params);
  /// The smallest beam that was tuned for at least this recall and k. @throws std::invalid_argument if none
  /// was
  std::uint32_t tuned_ef(double recall, std::size_t k) const;
  std::vector<TunedEf> tuned() const;

  std::size_t size() const noexcept;
  std::size_t dim() const noexcept;
  HnswParams params() const;
  void set_ef_search(std::uint32_t ef_search);

  /// Rows of the caller's ids, as stored (cosine: normalized; Rerank::kF16: rounded; Rerank::kNone: what the
  /// codes stand for). @throws
  /// std::out_of_range for an unknown id, std::invalid_argument for another type than that of the index
  void get_vectors(std::span<const std::int64_t> ids, float* out) const;
  void get_vectors(std::span<const std::int64_t> ids, std::int8_t* out) const;
  void get_vectors(std::span<const std::int64_t> ids, std::uint8_t* out) const;
  /// All ids, in row order, that of addition.
  std::vector<std::int64_t> ids() const;

  HnswStats stats() const;
  HnswValidation validate() const;
  /// Bytes of vectors, codes, graph and ids in use; without those that are in a file.
  std::size_t memory_usage() const;

  /// Out-neighbors (ids) of an id on one level; empty if the node does not reach that level.
  std::vector<std::int64_t> neighbors(std::int64_t id, std::size_t level) const;

  /// Written to a temporary file beside `path`, synced, renamed: the old file stays whole until the new one
  /// is.
  /// @throws std::system_error
  void save(const std::string& path, const SaveOptions& options = {}) const;
  void save(const ByteSink& sink, const SaveOptions& options = {}) const;
  /// @throws FormatError for anything that is not a whole, undamaged index of a known version
  /// @throws std::invalid_argument for vectors that are not those of the index, and unless the options'
  /// distance is its own by name, none without Metric::kUser
  static HnswIndex load(const std::string& path, const LoadOptions& options = {});
  /// Into memory, whatever the options say about mmap.
  static HnswIndex load(const ByteSource& source, const LoadOptions& options = {});
  /// A file in memory, whose address is a multiple of 64: as with `mmap`, vectors and codes stay there, and
  /// `bytes` must outlive the index and not change.
  static HnswIndex view(std::span<const std::byte> bytes, const LoadOptions& options = {});

  /// From a file that hnswlib's save_index wrote (version 0.8, float32). It does not say what dim and metric
  /// are; for kCosine it has normalized vectors, which stay as they are. Levels, links, labels and removed
  /// marks are taken over; the rest of HnswParams has defaults.
  /// @throws FormatError for anything that is not such a file
  static HnswIndex from_hnswlib(const std::string& path, std::size_t dim, Metric metric);
  static HnswIndex from_hnswlib(const ByteSource& source, std::size_t dim, Metric metric);
  /// For hnswlib's load_index. Ids are the labels, removed rows are marked so. Codes, tuning and parameters
  /// of searches have no place in it; float16 is widened.
  void to_hnswlib(const std::string& path) const;
  void to_hnswlib(const ByteSink& sink) const;

  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }
  Impl& impl() noexcept { return *impl_; }

 private:
  explicit HnswIndex(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whimbrel
