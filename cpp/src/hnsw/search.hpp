// Searching a frozen graph: greedy descent through the upper levels, then a beam.
//
// Malkov and Yashunin 2016, Alg. 2 and 5, with the two heaps replaced by one sorted array.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/hooks.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/points.hpp"

namespace whimbrel {

/// A candidate in 64 bits that sort by (distance, node): the distance's bits in an order-preserving form, the
/// node, and in the last bit whether it was expanded.
class Candidate {
 public:
  Candidate() = default;
  Candidate(float distance, std::uint32_t node)
      : bits_(static_cast<std::uint64_t>(ordered(distance)) << 32 | static_cast<std::uint64_t>(node) << 1) {}

  float distance() const noexcept {
    const auto o = static_cast<std::uint32_t>(bits_ >> 32);
    return std::bit_cast<float>(o & kSign ? o ^ kSign : ~o);
  }
  std::uint32_t node() const noexcept { return static_cast<std::uint32_t>(bits_) >> 1; }
  bool expanded() const noexcept { return bits_ & 1; }
  void set_expanded() noexcept { bits_ |= 1; }
  /// Steps between two distances in the order of floats.
  std::uint64_t ulps_above(Candidate other) const noexcept { return (bits_ >> 32) - (other.bits_ >> 32); }

  friend bool operator<(Candidate a, Candidate b) noexcept { return a.bits_ < b.bits_; }

 private:
  static constexpr std::uint32_t kSign = 0x80000000u;
  static std::uint32_t ordered(float x) noexcept {
    const auto b = std::bit_cast<std::uint32_t>(x);
    return b & kSign ? ~b : b | kSign;
  }
  std::uint64_t bits_ = 0;
};

/// The best `capacity` candidates seen, sorted, with a cursor at the nearest one not yet expanded.
class Pool {
 public:
  void reset(std::size_t capacity) {
    if (entries_.size() < capacity) entries_.resize(capacity);
    capacity_ = capacity;
    size_ = cursor_ = 0;
  }

  std::size_t size() const noexcept { return size_; }
  Candidate operator[](std::size_t i) const noexcept { return entries_[i]; }
  const Candidate* begin() const noexcept { return entries_.data(); }
  const Candidate* end() const noexcept { return entries_.data() + size_; }
  /// Distances at or above this one cannot enter.
  float bound() const noexcept {
    return size_ < capacity_ ? std::numeric_limits<float>::infinity() : entries_[size_ - 1].distance();
  }

  /// The candidate must not be in the pool already. True if it entered.
  bool insert(Candidate c) noexcept {
    if (size_ == capacity_) {
      if (!(c < entries_[size_ - 1])) return false;
      --size_;
    }
    const auto at = std::lower_bound(begin(), end(), c);
    const auto low = static_cast<std::size_t>(at - begin());
    std::memmove(entries_.data() + low + 1, entries_.data() + low, (size_ - low) * sizeof(Candidate));
    entries_[low] = c;
    ++size_;
    if (low < cursor_) cursor_ = low;
    return true;
  }

  /// A node that entered. For after the search: the cursor is lost.
  void erase(std::uint32_t node) noexcept {
    const auto at = std::find_if(begin(), end(), [&](Candidate c) { return c.node() == node; });
    if (at == end()) return;
    std::copy(at + 1, end(), entries_.data() + (at - begin()));
    --size_;
  }

  bool has_next() noexcept {
    while (cursor_ < size_ && entries_[cursor_].expanded()) ++cursor_;
    return cursor_ < size_;
  }
  /// The nearest candidate not expanded yet, if has_next().
  Candidate peek() const noexcept { return entries_[cursor_]; }
  std::uint32_t expand_next() noexcept {
    entries_[cursor_].set_expanded();
    return entries_[cursor_++].node();
  }

 private:
  std::vector<Candidate> entries_;
  std::size_t capacity_ = 0, size_ = 0, cursor_ = 0;
};

/// One bit per node. Cleared by the list of bits that were set, so a search costs what it visits.
class VisitedSet {
 public:
  void reserve(std::size_t n_nodes) {
    if (bits_.size() * 64 < n_nodes) bits_.resize(n_nodes / 64 + 1);
  }
  void insert(std::uint32_t node) { insert_new(&node, 1, &node); }
  bool contains(std::uint32_t node) const noexcept { return bits_[node / 64] >> (node % 64) & 1; }

  /// Insert the nodes of a list, up to its end or kNoNode; copy those that were not in the set to `fresh`,
  /// which has room for all. Their number. Free of branches on what was visited, since nobody can predict
  /// that.
  std::size_t insert_new(const std::uint32_t* list, std::size_t capacity, std::uint32_t* fresh) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < capacity && list[i] != kNoNode; ++i) {
      const std::uint32_t node = list[i];
      std::uint64_t& word = bits_[node / 64];
      const std::uint64_t bit = std::uint64_t{1} << (node % 64);
      fresh[n] = node;
      n += (word & bit) == 0;
      word |= bit;
    }
    nodes_.insert(nodes_.end(), fresh, fresh + n);
    return n;
  }
  void clear() noexcept {
    for (std::uint32_t node : nodes_) bits_[node / 64] = 0;
    nodes_.clear();
  }

 private:
  CountedVector<std::uint64_t> bits_;
  std::vector<std::uint32_t> nodes_;
};

/// Count an expanded node, and ask every some ten microseconds whether to stop.
inline void count_hop(SearchCounts& counts) {
  constexpr std::size_t kHopsPerCheck = 64;
  if (++counts.hops % kHopsPerCheck == 0) check_stop();
}

/// Everything a search writes to, reused from search to search so that none allocates once warm.
struct SearchScratch {
  Pool pool;
  VisitedSet visited;
  std::vector<std::uint32_t> nodes;  // the neighbors being looked at
  std::vector<float> distances;
  Pool beam;                                        // of a filtered search, beside what it found
  std::vector<std::uint32_t> wide_nodes, rejected;  // and neighbors of neighbors
  std::vector<float> wide_distances;
  AlignedArray<float> query;                            // as stored
  std::optional<ScalarQuantizer::Scratch> codes;        // made by the first search on codes
  AlignedArray<float> row;                              // a row in the caller's order
  std::vector<std::pair<float, std::int64_t>> results;  // (canonical distance, id)
  SearchCounts counts;

  explicit SearchScratch(const Graph& graph)
      : nodes(graph.links0.stride()),
        distances(graph.links0.stride()),
        query(graph.vectors.stride()),
        row(graph.vectors.stride()) {}
};

/// Searches one frozen graph; P says what its points are and what they are compared with.
template <class P>
class GraphSearch {
 public:
  GraphSearch(const Graph& graph, const P& points, SearchScratch& scratch)
      : graph_(graph), points_(points), scratch_(scratch) {
    scratch.visited.reserve(graph.size());
  }

  /// Walk from the entry point to a local minimum on each level above `level`, top down.
  Candidate descend(typename P::Query query, std::size_t level);

  /// Fill `pool` with the best `ef` found by a beam search on one level.
  void beam(typename P::Query query, std::size_t level, Candidate from, std::size_t ef, Pool& pool);

 private:
  void measure(typename P::Query query, const std::uint32_t* nodes, std::size_t n);

  const Graph& graph_;
  P points_;
  SearchScratch& scratch_;
};

}  // namespace whimbrel
