#include "fde/cells.hpp"

#include <algorithm>

namespace whimbrel {

void CellCensus::take(std::span<const std::uint32_t> cells) {
  std::fill(count_.begin(), count_.end(), 0u);
  for (std::size_t t = cells.size(); t-- > 0;) {
    ++count_[cells[t]];
    nearest_[cells[t]] = static_cast<std::uint32_t>(t);
  }
  empty_.clear();
  for (std::uint32_t cell = 0; cell < count_.size(); ++cell)
    if (count_[cell] == 0) empty_.push_back(cell);
}

// Breadth first over the cube of bit patterns: a token at distance m of a cell is at distance m - 1 of the
// neighbor that one of the differing bits leads to, and no neighbor has a token nearer than m - 1. So the
// first token at distance m is the least of those that the neighbors of level m - 1 have.
void CellCensus::fill() {
  std::fill(level_.begin(), level_.end(), std::uint8_t{0});
  for (const std::uint32_t cell : empty_) level_[cell] = kUnreached;
  unreached_ = empty_;
  for (std::uint8_t level = 1; !unreached_.empty(); ++level) {
    std::size_t left = 0;
    for (const std::uint32_t cell : unreached_) {
      std::uint32_t first = UINT32_MAX;
      for (std::uint32_t j = 0; j < k_sim_; ++j) {
        const std::uint32_t neighbor = cell ^ (1u << j);
        if (level_[neighbor] == level - 1) first = std::min(first, nearest_[neighbor]);
      }
      if (first == UINT32_MAX) {
        unreached_[left++] = cell;
      } else {
        nearest_[cell] = first;
        level_[cell] = level;
      }
    }
    unreached_.resize(left);
  }
}

}  // namespace whimbrel
