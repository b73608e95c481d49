// Searching for points that are allowed, among others that only lead to them: what a filter rejects, and what
// was removed. How many are allowed decides how.
#pragma once

#include <cstddef>

#include "hnsw/row_set.hpp"
#include "hnsw/search.hpp"

namespace whimbrel {

/// Searches one frozen graph for nodes of a set.
template <class P>
class FilteredSearch {
 public:
  FilteredSearch(const Graph& graph, const P& points, const RowSet& allowed, SearchScratch& scratch)
      : graph_(graph), points_(points), allowed_(allowed), scratch_(scratch) {
    scratch.visited.reserve(graph.size());
  }

  /// Fill the scratch's pool with the best `ef` allowed nodes that are found, with at least `least` if there
  /// are so many. All of them are measured where they are few.
  void run(typename P::Query query, std::size_t ef, std::size_t least);
  /// Fill it with the best `ef` found by a beam in the graph without one of its nodes.
  void run_without(typename P::Query query, std::size_t ef, std::uint32_t node);

 private:
  void scan(typename P::Query query, std::size_t ef);
  void walk(typename P::Query query, Candidate from, std::size_t ef, std::uint32_t without = kNoNode);
  void leap(typename P::Query query, Candidate from, std::size_t ef);
  void look_around(std::uint32_t node);
  void insert_near(typename P::Query query, float bound, Pool& pool);

  const Graph& graph_;
  const P& points_;
  const RowSet& allowed_;
  SearchScratch& scratch_;
};

}  // namespace whimbrel
