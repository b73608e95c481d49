// The beam that a recall needs: measured on queries, or on points of the index, each searched for as if it
// had never been added.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "hnsw/query.hpp"

namespace whimbrel {
namespace {

/// Points that stand in for queries.
constexpr std::size_t kSample = 256;

class Tuning {
 public:
  Tuning(const HnswIndex::Impl& index, const TuneParams& params)
      : index_(index),
        queries_(params.queries),
        threads_(resolve_threads(params.threads)),
        allowed_(index, {}),
        meter_(params.progress, 0),
        n_points_(index.graph.live.count()) {
    if (queries_.data == nullptr) {
      std::vector<std::uint32_t> rows;
      index.graph.live.for_each([&](std::uint32_t row) { rows.push_back(row); });
      const std::size_t n = std::min(kSample, rows.size());
      for (std::size_t i = 0; i < n; ++i) sample_.push_back(rows[i * rows.size() / n]);
      n_points_ -= std::min<std::size_t>(n_points_, 1);  // all but the one itself
    }
    if (n_points_ == 0 || size() == 0)
      throw std::invalid_argument("queries: expected some, and other points in the index, got " +
                                  std::to_string(size()) + " and " + std::to_string(n_points_));
    k_ = std::min(params.k, n_points_);
    truth_ = find(k_ + held_out(), k_, true);
    for (std::size_t q = 0; q < size(); ++q) {
      if (held_out()) std::erase(truth_[q], index.ids.id(sample_[q]));
      truth_[q].resize(std::min(truth_[q].size(), k_));
      std::sort(truth_[q].begin(), truth_[q].end());
    }
  }

  TunedEf run(double recall) {
    const std::size_t most = std::min<std::size_t>(n_points_, kMaxEf);
    std::size_t low = 0, high = std::min(k_, most);  // `low` is too few
    double measured = 0;
    while ((measured = recall_of(high)) < recall) {
      if (high == most)
        throw std::invalid_argument("recall: expected at most " + std::to_string(measured) +
                                    ", which is that of the widest beam, got " + std::to_string(recall));
      low = high;
      high = std::min(2 * high, most);
    }
    while (high - low > std::max<std::size_t>(1, low / 16)) {
      const std::size_t middle = low + (high - low) / 2;
      if (middle < k_) break;  // no beam is narrower
      const double tried = recall_of(middle);
      if (tried < recall) {
        low = middle;
      } else {
        high = middle;
        measured = tried;
      }
    }
    return {recall, k_, static_cast<std::uint32_t>(high), measured};
  }

 private:
  bool held_out() const { return queries_.data == nullptr; }
  std::size_t size() const { return held_out() ? sample_.size() : queries_.rows; }

  /// Ids that each query finds.
  std::vector<std::vector<std::int64_t>> find(std::size_t k, std::size_t ef, bool exact) {
    std::vector<std::vector<std::int64_t>> ids(size());
    const Query query(index_, k, ef, exact);
    for_each_query(index_, 0, size(), threads_, meter_, false, [&](std::size_t q, SearchScratch& scratch) {
      if (!held_out())
        query.run(queries_, q, allowed_.of_query(q), scratch);
      else
        query.run_node(sample_[q], nullptr, scratch, exact ? kNoNode : sample_[q]);
      for (std::size_t i = 0; i < std::min(k, scratch.results.size()); ++i)
        ids[q].push_back(scratch.results[i].second);
    });
    return ids;
  }

  double recall_of(std::size_t ef) {
    const auto found = find(k_, ef, false);
    std::size_t hits = 0, wanted = 0;
    for (std::size_t q = 0; q < size(); ++q) {
      wanted += truth_[q].size();
      for (const std::int64_t id : found[q])
        hits += std::binary_search(truth_[q].begin(), truth_[q].end(), id);
    }
    return static_cast<double>(hits) / static_cast<double>(wanted);
  }

  const HnswIndex::Impl& index_;
  VectorsView queries_;
  std::size_t threads_;
  Allowed allowed_;
  ProgressMeter meter_;
  std::size_t n_points_, k_ = 0;
  std::vector<std::uint32_t> sample_;  // instead of queries
  std::vector<std::vector<std::int64_t>> truth_;
};

void check_target(double recall, std::size_t k) {
  if (!(recall > 0 && recall <= 1))
    throw std::invalid_argument("recall: expected a number above 0 and at most 1, got " +
                                std::to_string(recall));
  check_k(k);
}

}  // namespace

TunedEf HnswIndex::tune(const TuneParams& params) {
  check_target(params.recall, params.k);
  if (params.queries.data != nullptr || params.queries.rows > 0)
    check_queries(*impl_, params.queries, 0, resolve_threads(params.threads));
  const auto lock = impl_->mutex.read();  // changes wait, searches need not
  TunedEf found = Tuning(*impl_, params).run(params.recall);
  found.k = params.k;
  impl_->state.change([&] {
    std::vector<TunedEf>& tuned = impl_->tuned;
    std::erase_if(tuned, [&](const TunedEf& t) { return t.recall == found.recall && t.k == found.k; });
    tuned.push_back(found);
    std::sort(tuned.begin(), tuned.end(), [](const TunedEf& a, const TunedEf& b) {
      return a.k != b.k ? a.k < b.k : a.recall < b.recall;
    });
    if (tuned.size() > kMaxTuned) tuned.erase(tuned.begin());
  });
  return found;
}

std::vector<TunedEf> HnswIndex::tuned() const {
  const auto lock = impl_->read();
  return impl_->tuned;
}

std::uint32_t HnswIndex::tuned_ef(double recall, std::size_t k) const {
  check_target(recall, k);
  std::uint32_t best = 0;
  for (const TunedEf& t : tuned())
    if (t.recall >= recall && t.k >= k && (best == 0 || t.ef_search < best)) best = t.ef_search;
  if (best == 0)
    throw std::invalid_argument("recall: expected an index tuned for at least " + std::to_string(recall) +
                                " at k = " + std::to_string(k) + ", got none; call tune first");
  return best;
}

}  // namespace whimbrel
