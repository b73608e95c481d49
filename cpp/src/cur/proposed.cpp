// The best items of many queries from proposals: items of the largest inner products of item_vectors() with
// (y, 1), which another machine found. Their scores are computed here; a bound certifies that no other item
// has a better one.
//
// A product stands for y . v + (mean - average), and the score for mean + y . v + constant. Apart from
// average + constant they differ by the two canonical sums, (d / 32 + 8) u |v| |y| each, by u of each term
// for the rounding of rows and by 3 u of each term for the sums in which they stand; u = 2^-24.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/parallel.hpp"
#include "cur/query.hpp"

namespace whimbrel {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr std::size_t kMostProposals = 1024;

}  // namespace

double average_mean(const CurIndex::Impl& index) {
  return std::accumulate(index.mean.begin(), index.mean.end(), 0.0) / static_cast<double>(index.size());
}

std::vector<std::size_t> best_items_proposed(const CurIndex::Impl& index,
                                             std::span<const QueryWeights> weights, std::size_t k,
                                             std::span<const std::uint8_t> blocked, std::size_t threads,
                                             const CurProposer& proposer,
                                             const std::function<void(std::size_t, const ScoredList&)>& fn) {
  const std::size_t n = index.size(), dim = index.features.dim(), depth = std::min(k, n);
  const auto n_blocked = static_cast<std::size_t>(std::count(blocked.begin(), blocked.end(), 1));
  const std::size_t m =
      std::min(n, depth + std::max<std::size_t>(16, depth / 4) + std::min(n_blocked, depth));
  std::vector<std::size_t> open(weights.size());
  std::iota(open.begin(), open.end(), std::size_t{0});
  if (m > kMostProposals || weights.empty()) return open;

  std::vector<float> queries(weights.size() * (dim + 1), 1.0f);
  for (std::size_t q = 0; q < weights.size(); ++q)
    std::copy_n(weights[q].query.data(), dim, queries.data() + q * (dim + 1));
  std::vector<std::int64_t> ids(weights.size() * m);
  std::vector<float> products(ids.size());
  proposer.find({queries.data(), weights.size(), dim + 1}, m, ids.data(), products.data());

  const QueryPrior prior(index, {});
  const double average = average_mean(index);
  double largest_mean = 0;
  for (const float mean : index.mean)
    largest_mean = std::max(largest_mean, std::abs(static_cast<double>(mean)));
  std::vector<std::uint8_t> settled(weights.size());
  parallel_for(weights.size(), threads, [&](std::size_t q, std::size_t) {
    const double constant = static_cast<double>(weights[q].constant);
    double squares = 1;
    for (std::size_t j = 0; j < dim; ++j)
      squares += static_cast<double>(weights[q].query[j]) * weights[q].query[j];
    const double product = proposer.largest_norm * std::sqrt(squares);
    const double error = 1.01 * kUnit *
                             ((2 * (static_cast<double>(dim + 1) / 32 + 8) + 1) * product +
                              4 * (2 * product + 2 * largest_mean + std::abs(average) + std::abs(constant))) +
                         static_cast<double>(dim) * std::numeric_limits<float>::min();
    ScoredList found;
    for (std::size_t i = q * m; i < (q + 1) * m; ++i) {
      if (ids[i] < 0 || blocked[static_cast<std::size_t>(ids[i])] != 0) continue;
      float score;
      score_chunk(prior, weights[q], static_cast<std::size_t>(ids[i]), 1, &score);
      found.push_back({-score, static_cast<std::uint32_t>(ids[i])});
    }
    std::sort(found.begin(), found.end());
    // No other item's negated score is below this; NaN if anything overflowed.
    const double least = -static_cast<double>(products[(q + 1) * m - 1]) - average - constant - error;
    const bool complete = m == n || ids[(q + 1) * m - 1] < 0;
    if (!complete && !(found.size() >= depth && least > found[depth - 1].score)) return;
    found.resize(std::min(depth, found.size()));
    fn(q, found);
    settled[q] = 1;
  });
  std::erase_if(open, [&](std::size_t q) { return settled[q] != 0; });
  return open;
}

}  // namespace whimbrel
