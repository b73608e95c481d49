#include "whimbrel/ball_carving.hpp"

#include <cmath>
#include <stdexcept>

#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

/// Sums of the groups of one query, one after another.
CountedVector<float> carve(MatrixView<const float> query, float threshold,
                           const kernels::KernelTable& table) {
  CountedVector<float> sums;
  std::vector<bool> taken(query.rows);
  for (std::size_t i = 0; i < query.rows; ++i) {
    if (taken[i]) continue;
    const std::size_t group = sums.size();
    sums.insert(sums.end(), query.row(i), query.row(i) + query.cols);
    for (std::size_t j = i + 1; j < query.rows; ++j) {
      if (taken[j] || !(-table.ip.canonical(query.row(i), query.row(j), query.cols) >= threshold)) continue;
      taken[j] = true;
      for (std::size_t k = 0; k < query.cols; ++k) sums[group + k] += query.row(j)[k];
    }
  }
  return sums;
}

}  // namespace

RaggedVectors ball_carving(const RaggedView& queries, float threshold, std::size_t threads) {
  threads = resolve_threads(threads);
  if (std::isnan(threshold)) throw std::invalid_argument("threshold: expected a number, got NaN");
  check_ragged("queries", queries, threads);
  const kernels::KernelTable& table = kernels::active_table();
  std::vector<CountedVector<float>> carved(queries.size());
  parallel_for(queries.size(), threads,
               [&](std::size_t q, std::size_t) { carved[q] = carve(queries[q], threshold, table); });
  RaggedVectors out;
  for (const CountedVector<float>& sums : carved) {
    out.tokens.insert(out.tokens.end(), sums.begin(), sums.end());
    out.offsets.push_back(static_cast<std::int64_t>(out.tokens.size() / queries.dim()));
  }
  return out;
}

}  // namespace whimbrel
