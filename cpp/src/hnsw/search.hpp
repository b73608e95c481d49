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
#include <type_traits>
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
    // A binary search whose steps are selections, since nobody can predict them as branches.
    std::size_t low = 0;
    const Candidate* entries = entries_.data();
    for (std::size_t n = size_; n > 0; n /= 2) {
      const std::size_t step = (n + 1) / 2;
      low += step & (std::size_t{0} - static_cast<std::size_t>(entries[low + n / 2] < c));
    }
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

  /// insert() for each of many, in any order: the same pool.
  void insert_all(const std::uint32_t* nodes, const float* distances, std::size_t n) {
    constexpr std::size_t kFew = 4;
    if (n <= kFew) {
      for (std::size_t i = 0; i < n; ++i) insert({distances[i], nodes[i]});
      return;
    }
    // Many are sorted and merged from the back, which moves every entry once.
    incoming_.clear();
    for (std::size_t i = 0; i < n; ++i) incoming_.emplace_back(distances[i], nodes[i]);
    std::sort(incoming_.begin(), incoming_.end());
    std::size_t old = size_, added = n;
    while (old + added > capacity_) {
      if (old > 0 && incoming_[added - 1] < entries_[old - 1])
        --old;
      else
        --added;
    }
    std::size_t at = size_ = old + added;
    while (added > 0) {
      // Selections again. An index of 0 is read when there is no old one, and not used.
      const Candidate last = entries_[old - (old > 0)], next = incoming_[added - 1];
      const bool is_old = (old > 0) & (next < last);
      entries_[--at] = is_old ? last : next;
      old -= is_old;
      added -= !is_old;
    }
    cursor_ = std::min(cursor_, at);
  }

  bool has_next() noexcept {
    while (cursor_ < size_ && entries_[cursor_].expanded()) ++cursor_;
    return cursor_ < size_;
  }
  /// The nearest candidate not expanded yet, if has_next().
  Candidate peek() const noexcept { return entries_[cursor_]; }
  /// fn(node) of the nearest candidates not expanded yet, `n` at most.
  template <class Fn>
  void for_next(std::size_t n, Fn fn) const {
    for (std::size_t i = cursor_; i < size_ && n > 0; ++i) {
      if (entries_[i].expanded()) continue;
      fn(entries_[i].node());
      --n;
    }
  }
  std::uint32_t expand_next() noexcept {
    entries_[cursor_].set_expanded();
    return entries_[cursor_++].node();
  }

 private:
  std::vector<Candidate> entries_, incoming_;
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
  /// which has room for all. Their number. Free of branches on what was visited and, but for groups, on where
  /// the list ends, since nobody can predict that.
  std::size_t insert_new(const std::uint32_t* list, std::size_t capacity, std::uint32_t* fresh) {
    constexpr std::size_t kGroup = 8;
    std::size_t n = 0;
    for (std::size_t begin = 0; begin < capacity && list[begin] != kNoNode; begin += kGroup)
      for (std::size_t i = begin; i < std::min(capacity, begin + kGroup); ++i) {
        const std::uint64_t is_node = list[i] != kNoNode;
        const std::uint32_t node = is_node ? list[i] : 0;
        std::uint64_t& word = bits_[node / 64];
        const std::uint64_t bit = is_node << (node % 64);
        fresh[n] = node;
        n += (word & bit) != bit;
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

/// Nodes that a beam expands at a time: their lists, then the rows of their neighbors, are on their way
/// together. A narrow beam measures a few more for it.
inline constexpr std::size_t kExpanded = 6;

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
  AlignedArray<float> query;                      // as stored
  std::optional<ScalarQuantizer::Scratch> codes;  // made by the first search on codes
  AlignedArray<float> row;                        // a row in the caller's order
  std::vector<float> own;                         // the same, of a point that is the query
  AlignedArray<std::uint8_t> byte_row;            // a query of codes as stored, and as compared
  AlignedArray<std::int8_t> byte_values;
  kernels::CodePoint point{};
  std::vector<std::pair<float, std::int64_t>> results;  // (canonical distance, id)
  SearchCounts counts;

  explicit SearchScratch(const Graph& graph)
      : nodes(kExpanded * graph.links0.stride()),
        distances(kExpanded * graph.links0.stride()),
        query(graph.padded_dim()),
        row(graph.padded_dim()),
        byte_row(graph.rows_are_codes() ? graph.codes.stride() : 0),
        byte_values(graph.rows_are_codes() ? graph.quantizer.layout().value_bytes(graph.codes.stride()) : 0) {
  }
};

/// The query that a scratch holds, in the form that points of a kind are compared with.
template <class P>
typename P::Query held_query(const SearchScratch& scratch) {
  if constexpr (std::is_same_v<P, PairPoints>)
    return scratch.point;
  else
    return scratch.query.data();
}

/// Searches one frozen graph; P says what its points are and what they are compared with.
template <class P>
class GraphSearch {
 public:
  GraphSearch(const Graph& graph, const P& points, SearchScratch& scratch)
      : graph_(graph), points_(points), scratch_(scratch) {
    scratch.visited.reserve(graph.size());
  }

  /// Where a search begins.
  Candidate candidate(typename P::Query query, std::uint32_t node);
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
