// Building a whole index level by level: rows go to a LevelLinker in the order of insertion, its lists become
// the graph. How the lists come about is the linker's business.
#include "hnsw/bulk_build.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/vectors.hpp"
#include "hnsw/reachability.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kItem = 256;

/// fn(i) for i in [0, n).
template <class Fn>
void for_each(std::size_t n, std::size_t threads, Fn fn) {
  parallel_for((n + kItem - 1) / kItem, threads, [&](std::size_t item, std::size_t) {
    for (std::size_t i = item * kItem; i < std::min(n, (item + 1) * kItem); ++i) fn(i);
  });
}

/// A list names distinct rows of the level other than its own, then kNoLink to its end.
void check_list(const std::uint32_t* list, std::size_t capacity, std::size_t row, std::size_t n) {
  std::size_t degree = 0;
  while (degree < capacity && list[degree] != kNoLink) ++degree;
  std::vector<std::uint32_t> sorted(list, list + degree);
  std::sort(sorted.begin(), sorted.end());
  const bool good = (degree == 0 || sorted.back() < n) &&
                    std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end() &&
                    !std::binary_search(sorted.begin(), sorted.end(), row) &&
                    std::all_of(list + degree, list + capacity, [](std::uint32_t x) { return x == kNoLink; });
  if (!good)
    throw std::invalid_argument("lists: expected distinct other rows below " + std::to_string(n) +
                                ", then none, got something else for row " + std::to_string(row));
}

class BulkBuild {
 public:
  BulkBuild(Graph& graph, MatrixView<const float> vectors, std::span<const std::int64_t> order,
            std::size_t threads, const LevelLinker& link)
      : graph_(graph), vectors_(vectors), threads_(threads), link_(link), members_(graph.size()) {
    for (std::size_t i = 0; i < members_.size(); ++i)
      members_[i] = static_cast<std::uint32_t>(order.empty() ? i : static_cast<std::size_t>(order[i]));
  }

  void run(SliceMutex& state, ProgressMeter& meter) {
    if (graph_.size() == 0) return;
    for (const std::uint32_t node : members_) {
      if (graph_.entry != kNoNode && graph_.level[node] <= graph_.max_level) continue;
      graph_.entry = node;
      graph_.max_level = graph_.level[node];
    }
    for (std::size_t l = 0; l <= graph_.max_level; ++l) {
      std::erase_if(members_, [&](std::uint32_t node) { return graph_.level[node] < l; });
      link_level(l, [&](std::size_t done, std::size_t) { meter.update(l == 0 ? done : graph_.size()); });
    }
    SearchScratch scratch(graph_);
    with_row_points(graph_, [&](const auto& points) {
      attach_unreached(graph_, points, scratch, state, [&](std::uint32_t) { meter.update(graph_.size()); });
    });
  }

 private:
  void link_level(std::size_t l, const ProgressFn& progress) {
    const HnswParams& p = graph_.params;
    const std::size_t n = members_.size();
    LevelToLink level;
    level.rows = gather();
    level.metric = p.metric == Metric::kL2 ? Metric::kL2 : Metric::kIp;
    level.ef_construction = p.ef_construction;
    level.own = p.M;
    level.capacity = graph_.capacity(l);
    if (l == 0 && p.keep_pruned) {
      level.own_filled = level.own;
      level.filled = level.capacity;
    }
    level.threads = threads_;
    level.progress = progress;
    CountedVector<std::uint32_t> lists(n * level.capacity);
    link_(level, lists.data());
    for_each(n, threads_, [&](std::size_t i) {
      const std::uint32_t* list = lists.data() + i * level.capacity;
      check_list(list, level.capacity, i, n);
      std::transform(list, list + level.capacity, graph_.links(members_[i], l),
                     [&](std::uint32_t row) { return row == kNoLink ? kNoNode : members_[row]; });
    });
  }

  /// The rows of the level in the order of insertion: the caller's, normalized for cosine.
  MatrixView<const float> gather() {
    const bool cosine = graph_.params.metric == Metric::kCosine;
    if (!cosine && vectors_.stride == vectors_.cols && std::is_sorted(members_.begin(), members_.end()) &&
        members_.size() == vectors_.rows)
      return vectors_;
    rows_ = AlignedArray<float>(members_.size() * graph_.dim);
    for_each(members_.size(), threads_, [&](std::size_t i) {
      float* out = rows_.data() + i * graph_.dim;
      if (cosine)
        normalize(vectors_.row(members_[i]), graph_.dim, out);
      else
        std::copy_n(vectors_.row(members_[i]), graph_.dim, out);
    });
    return {rows_.data(), members_.size(), graph_.dim};
  }

  Graph& graph_;
  MatrixView<const float> vectors_;
  std::size_t threads_;
  const LevelLinker& link_;
  CountedVector<std::uint32_t> members_;  // nodes of the level, in the order of insertion
  AlignedArray<float> rows_;
};

}  // namespace

void bulk_link(Graph& graph, MatrixView<const float> vectors, std::span<const std::int64_t> order,
               std::size_t threads, const LevelLinker& link, SliceMutex& state, ProgressMeter& meter) {
  BulkBuild(graph, vectors, order, threads, link).run(state, meter);
}

}  // namespace whimbrel
