// A beam in which every place is taken by an allowed node, or at least a pool for them beside it.
//
// Looking through rejected neighbors to theirs: Patel et al., "ACORN: Performant and Predicate-Agnostic
// Search Over Vector Embeddings and Structured Data", 2024, section 5.2 (ACORN-1).
#include "hnsw/filtered_search.hpp"

#include <algorithm>
#include <cmath>

namespace whimbrel {
namespace {

/// A beam of width ef measures about ef M nodes. So many times that are measured one after another instead,
/// which costs less for each; more so than a beam that looks through lists of rejected nodes.
constexpr std::size_t kScanned = 1, kScannedSparse = 4;
/// Where more than this share of the neighbors is allowed, there are enough without looking through the rest.
constexpr double kDense = 0.4;
/// Rows on their way while one is measured, in a scan.
constexpr std::size_t kGroup = 64;

}  // namespace

template <class P>
void FilteredSearch<P>::run(typename P::Query query, std::size_t ef, std::size_t least) {
  Pool& found = scratch_.pool;
  const std::size_t n = allowed_.count();
  ef = std::min(ef, n);
  least = std::min(least, n);
  const bool sparse = static_cast<double>(n) < kDense * static_cast<double>(graph_.size());
  if (n <= (sparse ? kScannedSparse : kScanned) * ef * graph_.params.M) return scan(query, ef);
  GraphSearch search(graph_, points_, scratch_);
  const Candidate from = search.descend(query, 0);
  if (sparse) {
    leap(query, from, ef);
    least = ef;  // a beam that did not fill ran into a dead end: where it began is not where the allowed are
  } else {
    walk(query, from, ef);
  }
  if (found.size() < least) scan(query, ef);
}

template <class P>
void FilteredSearch<P>::run_without(typename P::Query query, std::size_t ef, std::uint32_t node) {
  GraphSearch search(graph_, points_, scratch_);
  Candidate from = search.descend(query, 0);
  if (from.node() == node) {  // begin where the descent began, or at a neighbor of that
    std::uint32_t start = graph_.entry;
    if (start == node) start = graph_.links(node, 0)[0];
    scratch_.pool.reset(1);
    if (start == kNoNode) return;
    from = search.candidate(query, start);
  }
  walk(query, from, ef, node);
}

/// Measure all allowed nodes.
template <class P>
void FilteredSearch<P>::scan(typename P::Query query, std::size_t ef) {
  Pool& found = scratch_.pool;
  found.reset(ef);
  if (ef == 0) return;
  auto& nodes = scratch_.wide_nodes;
  nodes.clear();
  const auto measure = [&] {
    check_stop();
    insert_near(query, found.bound(), found);
    nodes.clear();
  };
  allowed_.for_each([&](std::uint32_t node) {
    nodes.push_back(node);
    if (nodes.size() == kGroup) measure();
  });
  measure();
}

/// A beam over all nodes, wide enough that `ef` of it are allowed if these are spread evenly.
template <class P>
void FilteredSearch<P>::walk(typename P::Query query, Candidate from, std::size_t ef, std::uint32_t without) {
  Pool &beam = scratch_.beam, &found = scratch_.pool;
  const double share = static_cast<double>(allowed_.count()) / static_cast<double>(graph_.size());
  beam.reset(static_cast<std::size_t>(std::ceil(static_cast<double>(ef) / share)));
  found.reset(ef);
  scratch_.visited.clear();
  scratch_.visited.insert(from.node());
  if (without != kNoNode) scratch_.visited.insert(without);
  beam.insert({from.distance(), from.node()});
  if (allowed_.contains(from.node())) found.insert({from.distance(), from.node()});
  const std::size_t capacity = graph_.capacity(0);
  std::uint32_t* nodes = scratch_.nodes.data();
  float* distances = scratch_.distances.data();
  while (beam.has_next() && beam.peek().distance() < found.bound()) {
    const std::uint32_t* row = graph_.links(beam.expand_next(), 0);
    count_hop(scratch_.counts);
    std::size_t n = scratch_.visited.insert_new(row, capacity, nodes);
    scratch_.counts.distances += n;
    n = points_.distances_below(query, nodes, n, std::max(beam.bound(), found.bound()), distances);
    for (std::size_t i = 0; i < n; ++i) {
      if (distances[i] < beam.bound()) beam.insert({distances[i], nodes[i]});
      if (distances[i] < found.bound() && allowed_.contains(nodes[i])) found.insert({distances[i], nodes[i]});
    }
  }
}

/// A beam of allowed nodes, which are linked if at most one rejected node lies between them.
template <class P>
void FilteredSearch<P>::leap(typename P::Query query, Candidate from, std::size_t ef) {
  Pool& beam = scratch_.pool;
  const bool start_allowed = allowed_.contains(from.node());
  beam.reset(ef + !start_allowed);
  scratch_.visited.clear();
  scratch_.visited.insert(from.node());
  beam.insert({from.distance(), from.node()});
  while (beam.has_next()) {
    look_around(beam.expand_next());
    count_hop(scratch_.counts);
    insert_near(query, beam.bound(), beam);
  }
  if (!start_allowed) beam.erase(from.node());
}

/// The allowed neighbors of a node that nobody has looked at, and those of its rejected neighbors while these
/// are not as many as a list can hold.
template <class P>
void FilteredSearch<P>::look_around(std::uint32_t node) {
  const std::size_t capacity = graph_.capacity(0);
  auto &near = scratch_.wide_nodes, &rejected = scratch_.rejected;
  near.clear();
  rejected.clear();
  const std::uint32_t* row = graph_.links(node, 0);
  for (std::size_t i = 0; i < capacity && row[i] != kNoNode; ++i) {
    if (!allowed_.contains(row[i])) {
      if (scratch_.visited.contains(row[i])) continue;  // looked through already
      rejected.push_back(row[i]);
      __builtin_prefetch(graph_.links(row[i], 0));
    } else if (!scratch_.visited.contains(row[i])) {
      scratch_.visited.insert(row[i]);
      near.push_back(row[i]);
    }
  }
  for (const std::uint32_t between : rejected) {
    if (near.size() >= capacity) break;
    scratch_.visited.insert(between);
    row = graph_.links(between, 0);
    for (std::size_t i = 0; i < capacity && row[i] != kNoNode; ++i) {
      if (!allowed_.contains(row[i]) || scratch_.visited.contains(row[i])) continue;
      scratch_.visited.insert(row[i]);
      near.push_back(row[i]);
    }
  }
}

/// Measure the nodes gathered in the scratch; those that are near enough enter the pool.
template <class P>
void FilteredSearch<P>::insert_near(typename P::Query query, float bound, Pool& pool) {
  auto& nodes = scratch_.wide_nodes;
  scratch_.wide_distances.resize(nodes.size());
  float* distances = scratch_.wide_distances.data();
  scratch_.counts.distances += nodes.size();
  const std::size_t n = points_.distances_below(query, nodes.data(), nodes.size(), bound, distances);
  for (std::size_t i = 0; i < n; ++i)
    if (distances[i] < pool.bound()) pool.insert({distances[i], nodes[i]});
}

template class FilteredSearch<VectorPoints>;
template class FilteredSearch<HalfPoints>;
template class FilteredSearch<UserPoints>;
template class FilteredSearch<PairPoints>;
template class FilteredSearch<ScalarCodePoints>;

}  // namespace whimbrel
