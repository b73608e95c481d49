// What stands behind HnswIndex: the graph, the ids, and who may touch them when.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/hooks.hpp"
#include "base/index_mutex.hpp"
#include "base/slice_mutex.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/id_map.hpp"
#include "hnsw/mapped_file.hpp"
#include "hnsw/search.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel {

/// The most links of a node on the upper levels.
inline constexpr std::uint32_t kMaxM = 512;
/// The widest beam.
inline constexpr std::uint32_t kMaxEf = 1000000;
/// Bytes of the name of a user's distance.
inline constexpr std::size_t kMaxDistanceName = 255;
/// Results of tuning that an index keeps.
inline constexpr std::size_t kMaxTuned = 256;

/// A number that nobody else got, for the state of an index.
std::uint64_t next_version() noexcept;

struct HnswIndex::Impl {
  Impl(std::size_t dim, const HnswParams& params) : graph(dim, params) {}

  /// A graph whose vectors were dropped has codes elsewhere, and only their owner may search it.
  void drop_vectors() { graph.vectors.resize(0); }
  bool has_vectors() const {
    return (graph.rows_are_codes() ? graph.codes.size()
            : graph.in_halves()    ? graph.halves.size()
                                   : graph.vectors.size()) == graph.size();
  }
  /// `file`: null, or that of the source, where rows stay.
  static HnswIndex load(const ByteSource& source, bool with_vectors, const LoadOptions& options = {},
                        std::unique_ptr<MappedFile> file = nullptr);
  static HnswIndex load_map(std::shared_ptr<const FileMap> map, const LoadOptions& options);

  /// For every change of rows or links, after the lock. @throws std::invalid_argument
  void check_changeable() const;

  /// Checks that need no lock. @throws std::invalid_argument
  void check_vectors(const char* name, VectorsView vectors, std::size_t threads) const;
  void check_rows(VectorsView vectors, const AddOptions& options) const;
  /// `link`: null, or how to link the rows of an empty index.
  void add(VectorsView vectors, const AddOptions& options, const LevelLinker* link);
  /// For the writer, with everything checked. `replaced`: empty, or the rows whose ids the new ones take.
  void insert(VectorsView vectors, const AddOptions& options, const LevelLinker* link,
              std::span<const std::uint32_t> replaced);
  /// For the writer: take removed rows out of the lists, before a change of which nothing is done yet.
  /// @param n  what the change reports its progress in
  void repair_before(std::size_t n, std::size_t threads, const ProgressFn& progress);
  /// For the writer: take back the rows that are not live, which no list leads to.
  void drop_gone();
  /// @throws std::out_of_range for an unknown id
  template <class T>
  void get_vectors(std::span<const std::int64_t> ids, T* out) const;
  /// @throws std::out_of_range for an unknown id
  std::vector<std::uint32_t> rows_of(std::span<const std::int64_t> ids_of_rows) const;

  /// For calls that may come between the slices of a change.
  std::shared_lock<std::shared_mutex> read() const {
    mutex.refuse_own_writer();
    return state.read();
  }

  std::unique_ptr<MappedFile> file;  // of rows that are in a file
  Graph graph;
  IdMap ids;
  std::vector<TunedEf> tuned;  // distinct in (recall, k)
  double build_seconds = 0;
  std::atomic<std::size_t> size = 0;       // readable without the lock
  std::uint64_t version = next_version();  // changes with the rows that are there, and with their ids
  /// A change takes this from its beginning to its end, and so do calls that read all of the index.
  mutable IndexMutex mutex;
  /// A change takes this for the slices in which it touches what searches read, and searches do.
  mutable SliceMutex state;

  /// A scratch of the right size, returned to the index at the end of its life. What is counted on an account
  /// is not shared with calls that have another, or none.
  class BorrowedScratch {
   public:
    BorrowedScratch(const Impl& impl)
        : impl_(impl), shared_(current_hooks() == nullptr || current_hooks()->memory == nullptr) {
      if (shared_) {
        const std::lock_guard lock(impl.scratch_mutex);
        if (!impl.scratches.empty()) {
          scratch_ = std::move(impl.scratches.back());
          impl.scratches.pop_back();
        }
      }
      if (!scratch_) scratch_ = std::make_unique<SearchScratch>(impl.graph);
    }
    ~BorrowedScratch() {
      if (!scratch_ || !shared_) return;
      const std::lock_guard lock(impl_.scratch_mutex);
      impl_.scratches.push_back(std::move(scratch_));
    }
    BorrowedScratch(const BorrowedScratch&) = delete;
    BorrowedScratch& operator=(const BorrowedScratch&) = delete;
    SearchScratch& operator*() noexcept { return *scratch_; }

   private:
    const Impl& impl_;
    bool shared_;
    std::unique_ptr<SearchScratch> scratch_;
  };

  mutable std::mutex scratch_mutex;
  mutable std::vector<std::unique_ptr<SearchScratch>> scratches;
};

/// @throws std::invalid_argument wrong columns, non-finite values, or a wrong number of filters
void check_queries(const HnswIndex::Impl& index, VectorsView queries, std::size_t n_filters,
                   std::size_t threads);
/// @throws std::invalid_argument
void check_k(std::size_t k);
/// @throws std::invalid_argument
void check_params(std::size_t dim, const HnswParams& params);

}  // namespace whimbrel
