// What stands behind HnswIndex: the graph, the ids, and who may touch them when.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "hnsw/graph.hpp"
#include "hnsw/id_map.hpp"
#include "hnsw/search.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel {

/// Shared by readers, exclusive for one writer. A writer's progress function runs inside its lock, so a call
/// from there would wait for itself; it is refused instead.
class IndexMutex {
 public:
  std::shared_lock<std::shared_mutex> read() {
    refuse_own_writer();
    return std::shared_lock(mutex_);
  }

  class Writer {
   public:
    explicit Writer(IndexMutex& owner) : owner_(owner), lock_(owner.mutex_) {
      owner_.writer_ = std::this_thread::get_id();
    }
    ~Writer() { owner_.writer_ = std::thread::id(); }

   private:
    IndexMutex& owner_;
    std::unique_lock<std::shared_mutex> lock_;
  };
  Writer write() {
    refuse_own_writer();
    return Writer(*this);
  }

 private:
  void refuse_own_writer() const {
    if (writer_ == std::this_thread::get_id())
      throw std::logic_error("index: expected no call from the progress function of its own add, got one");
  }

  std::shared_mutex mutex_;
  std::atomic<std::thread::id> writer_;
};

struct HnswIndex::Impl {
  Impl(std::size_t dim, const HnswParams& params) : graph(dim, params) {}

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
