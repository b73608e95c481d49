// Rounds of a search: the ledger of scored items, the choice of the next ones, the estimate at the end.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>

#include "base/parallel.hpp"
#include "cur/query.hpp"
#include "cur/random_keys.hpp"
#include "cur/regression.hpp"
#include "whimbrel/cur_search.hpp"

namespace whimbrel {
namespace {

/// Candidates whose deviation is looked at: this many times the size of the round, and some.
constexpr std::size_t kShortList = 8, kShortListMore = 64;
/// Unscored items that may belong to the true top k, for the estimate of recall.
constexpr std::size_t kEstimateList = 20, kEstimateMore = 200;

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void check_positive(const char* name, std::size_t value) {
  if (value == 0) throw std::invalid_argument(std::string(name) + ": expected at least 1, got 0");
}

void check_search_params(const CurSearchParams& p) {
  check_positive("k", p.k);
  check_positive("budget", p.budget);
  check_positive("rounds", p.rounds);
  if (!(p.split > 0 && p.split <= 1))
    throw std::invalid_argument("split: expected above 0 and at most 1, got " + std::to_string(p.split));
  if (!(p.temperature >= 0) || std::isinf(p.temperature))
    throw std::invalid_argument("temperature: expected a finite number of at least 0, got " +
                                std::to_string(p.temperature));
  if (!(p.kappa >= 0) || std::isinf(p.kappa))
    throw std::invalid_argument("kappa: expected a finite number of at least 0, got " +
                                std::to_string(p.kappa));
  if (std::isnan(p.mu) || std::isinf(p.mu))
    throw std::invalid_argument("mu: expected a finite number, got " + std::to_string(p.mu));
}

struct Plan {
  std::vector<std::size_t> sizes;  // calls of each round
  bool split = false;              // the last one comes after the rounds
};

/// The budget of the rounds in nearly equal parts, larger ones first, then the rest at once.
Plan plan_rounds(const CurSearchParams& params, std::size_t n_items) {
  if (params.budget >= n_items) return {{n_items}};
  const auto anchors = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::llround(params.split * static_cast<double>(params.budget))), 1,
      params.budget);
  const std::size_t rounds = std::min(params.rounds, anchors);
  std::vector<std::size_t> sizes(rounds, anchors / rounds);
  for (std::size_t r = 0; r < anchors % rounds; ++r) ++sizes[r];
  const bool split = anchors < params.budget;
  if (split) sizes.push_back(params.budget - anchors);
  return {std::move(sizes), split};
}

}  // namespace

struct CurSearch::Impl {
  Impl(const CurIndex::Impl& index_, const CurSearchParams& p, std::span<const float> first_stage)
      : index(index_),
        params(p),
        prior(index_, first_stage),
        regression(prior.dim(), index_.scale),
        blocked(index_.removed.begin(), index_.removed.end()),
        changes(index_.changes),
        threads(resolve_threads(p.threads)) {}

  const CurIndex::Impl& index;
  CurSearchParams params;
  QueryPrior prior;
  Regression regression;
  CountedVector<std::uint8_t> blocked;  // removed or scored
  std::uint64_t changes;
  std::size_t threads;

  std::vector<std::int64_t> start;
  Plan plan;
  std::size_t round = 0;  // of the pending items, or of the next ones
  std::vector<std::int64_t> pending;
  std::vector<std::int64_t> items;  // the ledger
  std::vector<float> scores;
  std::vector<double> targets;  // scores - offsets
  double seconds = 0;

  void check_unchanged() const {
    if (index.changes != changes)
      throw std::invalid_argument("index: expected no change during a search, start it again");
  }

  Eigen::VectorXd fit() {
    if (params.mu >= 0) {
      regression.set_mu(params.mu);
    } else if (regression.size() <= last_mu_size_ || last_mu_size_ < Regression::kLooRows) {
      // Further items would not change the choice.
      regression.set_mu(regression.choose_mu(targets));
      last_mu_size_ = regression.size();
    }
    return regression.solve(targets);
  }

  std::vector<std::int64_t> first_items(std::size_t count) {
    std::vector<std::int64_t> chosen;
    CountedVector<std::uint8_t> taken = blocked;
    const auto take = [&](std::int64_t id) {
      if (chosen.size() == count || taken[static_cast<std::size_t>(id)] != 0) return;
      taken[static_cast<std::size_t>(id)] = 1;
      chosen.push_back(id);
    };
    for (const std::int64_t id : start) take(id);
    if (chosen.size() == count) return chosen;
    if (prior.slopes() != nullptr) {
      const Eigen::VectorXd nothing = Eigen::VectorXd::Zero(static_cast<Eigen::Index>(prior.dim()));
      // Where the index was fitted without, offsets do not know the first stage; its own order does.
      const QueryWeights weights(prior, nothing);
      const bool alone = !index.has_first_stage();
      for (const Scored& s : best_items(prior, weights, count - chosen.size(), taken, threads,
                                        [&](std::size_t first, std::size_t n, float* out) {
                                          if (alone) std::copy_n(prior.slopes() + first, n, out);
                                        }))
        take(s.id);
      return chosen;
    }
    // Random items: those of the smallest keys.
    CountedVector<std::pair<std::uint64_t, std::int64_t>> keys;
    for (std::size_t i = 0; i < index.size(); ++i)
      if (taken[i] == 0)
        keys.emplace_back(random_bits(params.seed, RandomPurpose::kCurStart, i),
                          static_cast<std::int64_t>(i));
    const std::size_t missing = std::min(count - chosen.size(), keys.size());
    std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(missing), keys.end());
    for (std::size_t i = 0; i < missing; ++i) take(keys[i].second);
    return chosen;
  }

  /// The rule of the rounds; what comes after them (`last`) is always the top.
  std::vector<std::int64_t> choose(std::size_t count, bool last, std::span<const std::int64_t> candidates) {
    const QueryWeights weights(prior, fit());
    ScoredList best;
    if (!candidates.empty() && by_predictions(last)) best = best_candidates(weights, candidates, count);
    if (best.size() == count) {
      // enough of them
    } else if (by_predictions(last)) {
      best = best_items(prior, weights, count, blocked, threads);
    } else if (params.rule == CurRule::kSoftmax) {
      const auto temperature = static_cast<float>(params.temperature);
      const std::uint64_t base = round * index.size();
      best = best_items(
          prior, weights, count, blocked, threads, [&](std::size_t first, std::size_t n, float* out) {
            for (std::size_t i = 0; i < n; ++i)
              out[i] += temperature *
                        static_cast<float>(gumbel(params.seed, RandomPurpose::kCurSoftmax, base + first + i));
          });
    } else {
      best = best_items(prior, weights, kShortList * count + kShortListMore, blocked, threads);
      for (Scored& s : best) s.score -= static_cast<float>(params.kappa * deviation(s.id));
      std::sort(best.begin(), best.end());
      best.resize(std::min(count, best.size()));
    }
    std::vector<std::int64_t> chosen(best.size());
    std::transform(best.begin(), best.end(), chosen.begin(),
                   [](const Scored& s) { return static_cast<std::int64_t>(s.id); });
    return chosen;
  }

  /// Whether the round takes the highest predictions.
  bool by_predictions(bool last) const noexcept {
    return last || params.rule == CurRule::kTopK ||
           (params.rule == CurRule::kSoftmax && params.temperature == 0);
  }
  bool last() const noexcept { return plan.split && round + 1 == plan.sizes.size(); }

  /// The best of a few items that are neither removed nor scored.
  ScoredList best_candidates(const QueryWeights& weights, std::span<const std::int64_t> candidates,
                             std::size_t count) const {
    ScoredList best;
    for (const std::int64_t id : candidates) {
      const auto item = static_cast<std::size_t>(id);
      if (item >= index.size() || blocked[item] != 0) continue;  // -1 stands for a missing one
      float score;
      score_chunk(prior, weights, item, 1, &score);
      best.push_back({-score, static_cast<std::uint32_t>(item)});
    }
    std::sort(best.begin(), best.end());
    best.erase(
        std::unique(best.begin(), best.end(), [](const Scored& a, const Scored& b) { return a.id == b.id; }),
        best.end());
    best.resize(std::min(count, best.size()));
    return best;
  }

  /// Of the prediction, in units of the scores: weights have the prior variance 1 / n_queries each, as those
  /// of the anchor queries have.
  double deviation(std::uint32_t item) {
    const std::int64_t id = item;
    const Eigen::VectorXd row = prior.rows({&id, 1}).row(0).transpose();
    return std::sqrt(regression.variance(row) / static_cast<double>(index.n_queries));
  }

 private:
  std::size_t last_mu_size_ = 0;
};

CurSearch::CurSearch(const CurIndex& index, const CurSearchParams& params,
                     std::span<const std::int64_t> start, std::span<const float> first_stage) {
  check_search_params(params);
  const CurIndex::Impl& impl = *index.impl_;
  const std::shared_lock lock(impl.mutex);
  for (const std::int64_t id : start)
    if (id < 0 || static_cast<std::size_t>(id) >= impl.size())
      throw std::out_of_range("start: expected items from 0 to " + std::to_string(impl.size() - 1) +
                              ", got " + std::to_string(id));
  if (!first_stage.empty()) {
    check_shape("first_stage", {first_stage.data(), 1, first_stage.size()}, 1, impl.size());
  } else if (impl.has_first_stage()) {
    throw std::invalid_argument("first_stage: expected scores of all items, as in fit, got none");
  }
  impl_ = std::make_unique<Impl>(impl, params, first_stage);
  impl_->start.assign(start.begin(), start.end());
  const auto left = static_cast<std::size_t>(std::count(impl.removed.begin(), impl.removed.end(), 0));
  impl_->plan = plan_rounds(params, left);
}
CurSearch::~CurSearch() = default;
CurSearch::CurSearch(CurSearch&&) noexcept = default;
CurSearch& CurSearch::operator=(CurSearch&&) noexcept = default;

const std::vector<std::int64_t>& CurSearch::next_items() { return next_items({}); }

std::vector<float> CurSearch::query_vector() {
  Impl& s = *impl_;
  const std::shared_lock lock(s.index.mutex);
  s.check_unchanged();
  if (s.prior.slopes() != nullptr)
    throw std::invalid_argument("query_vector: expected a search without a first stage, got one");
  if (!s.pending.empty() || s.round == 0 || s.round >= s.plan.sizes.size() || !s.by_predictions(s.last()))
    return {};
  const Stopwatch stopwatch(s.seconds);
  const QueryWeights weights(s.prior, s.fit());
  std::vector<float> query(weights.query.data(), weights.query.data() + s.index.features.dim());
  query.push_back(1);
  return query;
}

const std::vector<std::int64_t>& CurSearch::next_items(std::span<const std::int64_t> candidates) {
  Impl& s = *impl_;
  const std::shared_lock lock(s.index.mutex);
  s.check_unchanged();
  if (!s.pending.empty() || s.round == s.plan.sizes.size()) return s.pending;
  const Stopwatch stopwatch(s.seconds);
  const std::size_t count = s.plan.sizes[s.round];
  s.pending = s.round == 0 ? s.first_items(count) : s.choose(count, s.last(), candidates);
  if (s.pending.empty()) s.round = s.plan.sizes.size();
  return s.pending;
}

void CurSearch::observe(std::span<const float> scores) {
  Impl& s = *impl_;
  const std::shared_lock lock(s.index.mutex);
  s.check_unchanged();
  const Stopwatch stopwatch(s.seconds);
  if (scores.size() != s.pending.size())
    throw std::invalid_argument("scores: expected " + std::to_string(s.pending.size()) + " values, got " +
                                std::to_string(scores.size()));
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (!std::isfinite(scores[i]))
      throw std::invalid_argument("scores: expected finite values, got " + std::to_string(scores[i]) +
                                  " for item " + std::to_string(s.pending[i]));
  s.regression.add(s.prior.rows(s.pending));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto item = static_cast<std::size_t>(s.pending[i]);
    s.blocked[item] = 1;
    s.items.push_back(s.pending[i]);
    s.scores.push_back(scores[i]);
    s.targets.push_back(static_cast<double>(scores[i]) - s.prior.expected(s.pending[i]));
  }
  s.pending.clear();
  ++s.round;
}

bool CurSearch::done() { return next_items().empty(); }

std::size_t CurSearch::calls() const noexcept { return impl_->items.size(); }
std::span<const std::int64_t> CurSearch::scored_items() const noexcept { return impl_->items; }
std::span<const float> CurSearch::scores() const noexcept { return impl_->scores; }
double CurSearch::mu() const noexcept { return impl_->regression.mu(); }
double CurSearch::algebra_seconds() const noexcept { return impl_->seconds; }

void CurSearch::top_k(std::vector<std::int64_t>& ids, std::vector<float>& scores) const {
  const Impl& s = *impl_;
  std::vector<std::size_t> order(s.items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t k = std::min(s.params.k, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      return s.scores[a] > s.scores[b] ||
                             (s.scores[a] == s.scores[b] && s.items[a] < s.items[b]);
                    });
  ids.clear();
  scores.clear();
  for (std::size_t i = 0; i < k; ++i) {
    ids.push_back(s.items[order[i]]);
    scores.push_back(s.scores[order[i]]);
  }
}

double CurSearch::loo_error() {
  Impl& s = *impl_;
  const std::shared_lock lock(s.index.mutex);
  s.check_unchanged();
  const Stopwatch stopwatch(s.seconds);
  s.fit();
  return s.regression.loo_error(s.targets);
}

double CurSearch::estimated_recall(std::span<const std::int64_t> candidates) {
  Impl& s = *impl_;
  const std::shared_lock lock(s.index.mutex);
  s.check_unchanged();
  const Stopwatch stopwatch(s.seconds);
  std::vector<std::int64_t> ids;
  std::vector<float> scores;
  top_k(ids, scores);
  if (ids.empty()) return 0;
  const QueryWeights weights(s.prior, s.fit());
  const double deviation = std::max(s.regression.loo_error(s.targets), 1e-30);
  const std::size_t k = s.params.k;
  double above = 0;
  const std::size_t most = kEstimateList * k + kEstimateMore;
  for (const Scored& candidate : candidates.empty() ? best_items(s.prior, weights, most, s.blocked, s.threads)
                                                    : s.best_candidates(weights, candidates, most))
    above += 0.5 *
             std::erfc((static_cast<double>(scores.back()) + candidate.score) / (deviation * std::sqrt(2.0)));
  const auto found = static_cast<double>(ids.size());
  return found / (found + above);
}

}  // namespace whimbrel
