// What stands behind HnswIndex: the graph, the ids, and who may touch them when.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/index_mutex.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/id_map.hpp"
#include "hnsw/search.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel {

struct HnswIndex::Impl {
  Impl(std::size_t dim, const HnswParams& params) : graph(dim, params) {}

  /// A graph whose vectors were dropped has codes elsewhere, and only their owner may search it.
  void drop_vectors() { graph.vectors.resize(0); }
  bool has_vectors() const {
    return (graph.in_halves() ? graph.halves.size() : graph.vectors.size()) == graph.size();
  }
  static HnswIndex load(const ByteSource& source, bool with_vectors);

  Graph graph;
  IdMap ids;
  double build_seconds = 0;
  std::atomic<std::size_t> size = 0;  // readable without the lock
  mutable IndexMutex mutex;

  /// A scratch of the right size, returned to the index at the end of its life.
  class BorrowedScratch {
   public:
    BorrowedScratch(const Impl& impl) : impl_(impl) {
      {
        const std::lock_guard lock(impl.scratch_mutex);
        if (!impl.scratches.empty()) {
          scratch_ = std::move(impl.scratches.back());
          impl.scratches.pop_back();
        }
      }
      if (!scratch_) scratch_ = std::make_unique<SearchScratch>(impl.graph);
    }
    ~BorrowedScratch() {
      if (!scratch_) return;
      const std::lock_guard lock(impl_.scratch_mutex);
      impl_.scratches.push_back(std::move(scratch_));
    }
    BorrowedScratch(const BorrowedScratch&) = delete;
    BorrowedScratch& operator=(const BorrowedScratch&) = delete;
    SearchScratch& operator*() noexcept { return *scratch_; }

   private:
    const Impl& impl_;
    std::unique_ptr<SearchScratch> scratch_;
  };

  mutable std::mutex scratch_mutex;
  mutable std::vector<std::unique_ptr<SearchScratch>> scratches;
};

/// @throws std::invalid_argument
void check_params(std::size_t dim, const HnswParams& params);

}  // namespace whimbrel
