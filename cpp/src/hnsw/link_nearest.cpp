// Linking one level from the nearest rows before each row: the CPU's LevelLinker.
//
// What a row's candidates are does not depend on how earlier rows were linked, so all rows choose at once;
// then every row answers, once, all rows that chose it. Canonical arithmetic decides everywhere: the lists
// are the same for any number of threads, on every instruction set, and on a GPU (cuda/src/hnsw_build.cu).
#include <algorithm>
#include <numeric>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/points.hpp"
#include "hnsw/search.hpp"
#include "hnsw/select_neighbors.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel {
namespace {

/// Candidates held at a time.
constexpr std::size_t kBlockBytes = std::size_t{64} << 20;
/// Rows of one work item.
constexpr std::size_t kItem = 64;

class Linking {
 public:
  Linking(const LevelToLink& level, const CandidateSource& source, std::uint32_t* lists)
      : level_(level),
        source_(source),
        lists_(lists),
        n_(level.rows.rows),
        points_(level.rows, level.metric),
        threads_(resolve_threads(level.threads)),
        own_(n_ * level.own),
        own_size_(n_),
        workers_(threads_, Worker(points_)),
        meter_(level.progress, n_) {}

  void run() {
    const std::size_t k =
        std::max<std::size_t>(1, std::min(level_.ef_construction, n_ - std::min<std::size_t>(n_, 1)));
    const std::size_t block =
        std::max<std::size_t>(1, kBlockBytes / (k * (sizeof(std::int64_t) + sizeof(float))));
    for (std::size_t begin = 0; begin < n_; begin += block) choose(begin, std::min(n_, begin + block), k);
    group();
    for_rows(0, n_, n_, [&](std::size_t i, Worker& worker) { answer(i, worker); });
  }

 private:
  struct Worker {
    explicit Worker(const CanonicalPoints& points) : selection(points) {}
    std::vector<Candidate> candidates;
    Selection<CanonicalPoints> selection;
  };

  template <class Fn>
  void for_rows(std::size_t begin, std::size_t end, std::size_t done, Fn fn) {
    parallel_for((end - begin + kItem - 1) / kItem, threads_,
                 [&](std::size_t item, std::size_t w) {
                   const std::size_t first = begin + item * kItem;
                   for (std::size_t i = first; i < std::min(end, first + kItem); ++i) fn(i, workers_[w]);
                 },
                 [&](std::size_t) { meter_.update(done); });
  }

  /// Progress in rows, but as the work goes: row i looks at the i rows before it.
  std::size_t share_done(std::size_t rows) const {
    return static_cast<std::size_t>(static_cast<double>(rows) * static_cast<double>(rows) /
                                    static_cast<double>(n_));
  }

  /// The own links of rows [begin, end).
  void choose(std::size_t begin, std::size_t end, std::size_t k) {
    ids_.resize((end - begin) * k);
    distances_.resize((end - begin) * k);
    KnnParams params;
    params.k = k;
    params.metric = level_.metric;
    params.threads = threads_;
    params.progress = [&](std::size_t done, std::size_t) { meter_.update(share_done(begin + done)); };
    const MatrixView<const float> seen(level_.rows.data, end, level_.rows.cols, level_.rows.stride);
    source_(seen, begin, params, ids_.data(), distances_.data());
    for_rows(begin, end, share_done(end), [&](std::size_t i, Worker& worker) {
      const std::int64_t* ids = ids_.data() + (i - begin) * k;
      const float* distances = distances_.data() + (i - begin) * k;
      worker.candidates.clear();
      for (std::size_t j = 0; j < k && ids[j] >= 0; ++j)
        worker.candidates.emplace_back(distances[j], static_cast<std::uint32_t>(ids[j]));
      select_neighbors(points_, worker.candidates, level_.own, level_.own_filled, worker.selection);
      const auto& kept = worker.selection.kept;
      std::copy(kept.begin(), kept.end(), own_.begin() + static_cast<std::ptrdiff_t>(i * level_.own));
      own_size_[i] = static_cast<std::uint32_t>(kept.size());
    });
  }

  std::span<const Candidate> own(std::size_t i) const { return {own_.data() + i * level_.own, own_size_[i]}; }

  /// Who chose each row, by target.
  void group() {
    chosen_begin_.assign(n_ + 1, 0);
    for (std::size_t i = 0; i < n_; ++i)
      for (const Candidate c : own(i)) ++chosen_begin_[c.node() + 1];
    std::partial_sum(chosen_begin_.begin(), chosen_begin_.end(), chosen_begin_.begin());
    chosen_.resize(chosen_begin_[n_]);
    std::vector<std::size_t> next(chosen_begin_.begin(), chosen_begin_.end() - 1);
    for (std::size_t i = 0; i < n_; ++i)
      for (const Candidate c : own(i))
        chosen_[next[c.node()]++] = Candidate(c.distance(), static_cast<std::uint32_t>(i));
  }

  /// The list of one row: its own links and those that chose it, selected again if they are too many.
  void answer(std::size_t i, Worker& worker) {
    auto& candidates = worker.candidates;
    const auto mine = own(i);
    candidates.assign(mine.begin(), mine.end());
    candidates.insert(candidates.end(), chosen_.begin() + static_cast<std::ptrdiff_t>(chosen_begin_[i]),
                      chosen_.begin() + static_cast<std::ptrdiff_t>(chosen_begin_[i + 1]));
    std::sort(candidates.begin(), candidates.end());
    std::span<const Candidate> kept = candidates;
    if (candidates.size() > level_.capacity) {
      select_neighbors(points_, candidates, level_.capacity, level_.filled, worker.selection);
      kept = worker.selection.kept;
    }
    std::uint32_t* list = lists_ + i * level_.capacity;
    for (std::size_t j = 0; j < level_.capacity; ++j) list[j] = j < kept.size() ? kept[j].node() : kNoNode;
  }

  const LevelToLink& level_;
  const CandidateSource& source_;
  std::uint32_t* lists_;
  std::size_t n_;
  CanonicalPoints points_;
  std::size_t threads_;
  std::vector<Candidate> own_;  // (n, own)
  std::vector<std::uint32_t> own_size_;
  std::vector<std::size_t> chosen_begin_;
  std::vector<Candidate> chosen_;  // by target, in the order of the sources
  std::vector<std::int64_t> ids_;
  std::vector<float> distances_;
  std::vector<Worker> workers_;
  ProgressMeter meter_;
};

}  // namespace

LevelLinker link_nearest(CandidateSource source) {
  return [source = std::move(source)](const LevelToLink& level, std::uint32_t* lists) {
    Linking(level, source, lists).run();
  };
}

}  // namespace whimbrel
