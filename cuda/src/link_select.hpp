// The selection of neighbors (Malkov and Yashunin 2016, Alg. 4; cpp/src/hnsw/select_neighbors.hpp) by a warp.
//
// Written over a warp type, so that the host runs the same code with a warp of one lane:
//   lane(), lanes(); sync();
//   nearer(row, kept, n, distance): whether one of the rows of n keys is nearer to `row` than that.
// Every lane of a warp calls every function, with the same arguments. Keys are ranked(distance, row).
#pragma once

#include <cstddef>
#include <cstdint>

#include "block_select.hpp"
#include "host_device.hpp"

namespace whimbrel::cuda {

WHIMBREL_HOST_DEVICE inline std::uint32_t row_of_key(std::uint64_t key) {
  return static_cast<std::uint32_t>(key);
}
WHIMBREL_HOST_DEVICE inline float distance_of_key(std::uint64_t key) {
  return ordered_value(static_cast<std::uint32_t>(key >> 32));
}

/// The number of the n sorted keys below `key`; keys: what at(i) gives.
template <class At>
WHIMBREL_HOST_DEVICE unsigned count_below(unsigned n, std::uint64_t key, At at) {
  unsigned low = 0, high = n;
  while (low < high) {
    const unsigned middle = low + (high - low) / 2;
    if (at(middle) < key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// out(place, key) for the keys of two sorted lists without a key in common, as one.
template <class Warp, class A, class B, class Out>
WHIMBREL_HOST_DEVICE void merge_keys(const Warp& warp, unsigned n_a, A a, unsigned n_b, B b, Out out) {
  for (unsigned i = warp.lane(); i < n_a; i += warp.lanes()) out(i + count_below(n_b, a(i), b), a(i));
  for (unsigned i = warp.lane(); i < n_b; i += warp.lanes()) out(i + count_below(n_a, b(i), a), b(i));
}

/// Room of one selection, shared by the warp.
struct SelectRoom {
  std::uint64_t* kept;    ///< max_kept
  std::uint64_t* pruned;  ///< min_kept
};

/// Keep keys in order unless a kept one is nearer to them than the base is, up to `max_kept`; then put pruned
/// ones back, nearest first, until there are `min_kept`. How many there are; out(place, key) for each.
///
/// @param next  next() gives the keys in ascending order, then kUnranked
template <class Warp, class Next, class Out>
WHIMBREL_HOST_DEVICE unsigned select_links(const Warp& warp, unsigned max_kept, unsigned min_kept,
                                           const SelectRoom& room, Next next, Out out) {
  unsigned n_kept = 0, n_pruned = 0;
  while (n_kept < max_kept) {
    const std::uint64_t key = next();
    if (key == kUnranked) break;
    if (warp.nearer(row_of_key(key), room.kept, n_kept, distance_of_key(key))) {
      if (n_pruned < min_kept) {
        if (warp.lane() == 0) room.pruned[n_pruned] = key;
        ++n_pruned;
      }
    } else {
      if (warp.lane() == 0) room.kept[n_kept] = key;
      ++n_kept;
      warp.sync();
    }
  }
  warp.sync();
  const unsigned missing = n_kept < min_kept ? min_kept - n_kept : 0;
  const unsigned n_back = n_pruned < missing ? n_pruned : missing;
  merge_keys(
      warp, n_kept, [&](unsigned i) { return room.kept[i]; }, n_back,
      [&](unsigned i) { return room.pruned[i]; }, out);
  warp.sync();
  return n_kept + n_back;
}

/// The keys a row chose among its candidates, kUnranked behind the last.
template <class Warp>
WHIMBREL_HOST_DEVICE void choose_links(const Warp& warp, std::size_t k, const std::int64_t* ids,
                                       const float* distances, unsigned max_kept, unsigned min_kept,
                                       const SelectRoom& room, std::uint64_t* own) {
  std::size_t i = 0;
  const auto next = [&] {
    const std::uint64_t key =
        i < k && ids[i] >= 0 ? ranked(distances[i], static_cast<std::uint32_t>(ids[i])) : kUnranked;
    ++i;
    return key;
  };
  const unsigned n = select_links(warp, max_kept, min_kept, room, next,
                                  [&](unsigned place, std::uint64_t key) { own[place] = key; });
  for (unsigned j = n + warp.lane(); j < max_kept; j += warp.lanes()) own[j] = kUnranked;
}

/// The list of a row: its own keys and those of the rows that chose it, selected again if they are too many.
/// @param chosen  chosen(i) gives the i-th of n_chosen keys, in ascending order
template <class Warp, class Chosen>
WHIMBREL_HOST_DEVICE void answer_links(const Warp& warp, unsigned max_own, const std::uint64_t* own,
                                       unsigned n_chosen, Chosen chosen, unsigned capacity, unsigned filled,
                                       const SelectRoom& room, std::uint32_t* list, std::uint32_t no_link) {
  const auto own_key = [&](unsigned i) { return own[i]; };
  const unsigned n_own = count_below(max_own, kUnranked, own_key);
  const auto write = [&](unsigned place, std::uint64_t key) { list[place] = row_of_key(key); };
  unsigned n = n_own + n_chosen;
  if (n <= capacity) {
    merge_keys(warp, n_own, own_key, n_chosen, chosen, write);
  } else {
    unsigned i = 0, j = 0;
    const auto next = [&] {
      const std::uint64_t a = i < n_own ? own[i] : kUnranked, b = j < n_chosen ? chosen(j) : kUnranked;
      if (a < b)
        ++i;
      else
        ++j;
      return a < b ? a : b;
    };
    n = select_links(warp, capacity, filled, room, next, write);
  }
  for (unsigned place = n + warp.lane(); place < capacity; place += warp.lanes()) list[place] = no_link;
}

/// A choice as it is sorted: by target, then by distance; the chooser goes along. What was not chosen comes
/// last, as if row n had been.
WHIMBREL_HOST_DEVICE inline std::uint64_t edge_key(std::uint64_t own_key, std::uint32_t n) {
  return own_key == kUnranked ? static_cast<std::uint64_t>(n) << 32
                              : static_cast<std::uint64_t>(row_of_key(own_key)) << 32 | own_key >> 32;
}
WHIMBREL_HOST_DEVICE inline std::uint32_t target_of_edge(std::uint64_t edge) {
  return static_cast<std::uint32_t>(edge >> 32);
}
/// The chooser as a key of its target.
WHIMBREL_HOST_DEVICE inline std::uint64_t chooser_key(std::uint64_t edge, std::uint32_t chooser) {
  return edge << 32 | chooser;
}

}  // namespace whimbrel::cuda
