// What stands behind IdFilter: ids or places, and the rows that they were for one state of one index.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "hnsw/row_set.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/id_filter.hpp"

namespace whimbrel {

struct IdFilter::Impl {
  std::vector<std::int64_t> ids;
  std::vector<std::uint8_t> places;
  bool has_places = false;

  /// The rows of an index that the filter allows and that are there, for a caller that reads the index.
  /// @throws std::invalid_argument if there are not as many places as points
  std::shared_ptr<const RowSet> rows(const HnswIndex::Impl& index) const;

 private:
  mutable std::mutex mutex_;
  mutable std::uint64_t version_ = 0;  // of the index that rows_ are of
  mutable std::shared_ptr<const RowSet> rows_;
};

}  // namespace whimbrel
