// Which points a search may return, compiled once for any number of searches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "whimbrel/export.h"

namespace whimbrel {

/// Immutable, copied by reference, for any index and any number of threads. The first search compiles it to
/// rows of its index, in one look-up per id, and so does the first one after the index changed.
class WHIMBREL_API IdFilter {
 public:
  /// The points with these ids, in any order. Ids that an index does not have are ignored.
  explicit IdFilter(std::span<const std::int64_t> ids);
  /// Of the points of an index those whose place in HnswIndex::ids(), at the time of a search, has not a 0.
  static IdFilter from_places(std::span<const std::uint8_t> allowed);

  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }

 private:
  explicit IdFilter(std::shared_ptr<const Impl> impl) noexcept;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace whimbrel
