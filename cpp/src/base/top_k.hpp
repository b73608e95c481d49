// The best k of a stream of (score, id), smaller first, ties by id.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include "base/memory.hpp"

namespace whimbrel {

struct Scored {
  float score;
  std::uint32_t id;

  friend bool operator<(const Scored& a, const Scored& b) {
    return a.score < b.score || (a.score == b.score && a.id < b.id);
  }
};

using ScoredList = CountedVector<Scored>;

/// Keeps 2k entries and halves them when full, which costs O(1) per push on average and branches less than a
/// heap. Everything pushed with a score below bound() is kept or beaten by k others; what was dropped has a
/// score of at least bound(). If equal scores arrive by increasing id, the result is exact in the ids too.
class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) { entries_.reserve(2 * k); }

  float bound() const noexcept { return bound_; }

  void push(float score, std::uint32_t id) {
    if (!(score < bound_)) return;
    entries_.push_back({score, id});
    if (entries_.size() >= 2 * k_) shrink();
  }

  /// Take in what another stream kept. All at once: its entries are not sorted by id.
  void merge(const TopK& other) {
    entries_.insert(entries_.end(), other.entries_.begin(), other.entries_.end());
    bound_ = std::min(bound_, other.bound_);
    if (entries_.size() >= 2 * k_) shrink();
  }

  /// The best k, sorted. Call once, at the end.
  ScoredList& finish() {
    if (entries_.size() > k_) shrink();
    std::sort(entries_.begin(), entries_.end());
    return entries_;
  }

 private:
  void shrink() {
    std::nth_element(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(k_ - 1),
                     entries_.end());
    bound_ = std::min(bound_, entries_[k_ - 1].score);
    entries_.resize(k_);
  }

  std::size_t k_;
  float bound_ = std::numeric_limits<float>::infinity();
  ScoredList entries_;
};

}  // namespace whimbrel
