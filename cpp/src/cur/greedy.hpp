// The l2-greedy choice of anchor items.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/parallel.hpp"
#include "cur/impl.hpp"
#include "whimbrel/cur_greedy.hpp"

namespace whimbrel {

inline constexpr std::size_t kAnchorBlock = 256;

/// fn(first, n) for all items, in runs of at most kAnchorBlock in one chunk of the features.
template <class Fn>
void for_each_block(const ItemFeatures& features, std::size_t threads, const Fn& fn) {
  const std::size_t size = features.size();
  parallel_for((size + kAnchorBlock - 1) / kAnchorBlock, threads, [&](std::size_t block, std::size_t) {
    const std::size_t first = block * kAnchorBlock;
    for (std::size_t i = first; i < std::min(size, first + kAnchorBlock);) {
      const std::size_t end =
          std::min({size, first + kAnchorBlock, (i / features.chunk_rows() + 1) * features.chunk_rows()});
      fn(i, end - i);
      i = end;
    }
  });
}

/// At most `count` items that are not removed, in the order of choice; fewer when they explain all the
/// others.
/// @param passes  what goes over the items; null: the CPU
/// @param report  called with how many there are
std::vector<std::int64_t> select_greedily(const CurIndex::Impl& index, std::size_t count, std::size_t threads,
                                          GreedyPasses* passes,
                                          const std::function<void(std::size_t)>& report);

}  // namespace whimbrel
