#include "hnsw/id_filter.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "hnsw/impl.hpp"

namespace whimbrel {
namespace {

RowSet rows_of_ids(const HnswIndex::Impl& index, std::span<const std::int64_t> ids) {
  RowSet rows;
  rows.resize(index.graph.size());
  for (const std::int64_t id : ids)
    if (const auto row = index.ids.find(id)) rows.insert(*row);
  return rows;
}

RowSet rows_of_places(const HnswIndex::Impl& index, std::span<const std::uint8_t> places) {
  const RowSet& live = index.graph.live;
  if (places.size() != live.count())
    throw std::invalid_argument("filter: expected one value per point, " + std::to_string(live.count()) +
                                ", got " + std::to_string(places.size()));
  RowSet rows;
  rows.resize(index.graph.size());
  std::size_t place = 0;
  live.for_each([&](std::uint32_t row) {
    if (places[place++] != 0) rows.insert(row);
  });
  return rows;
}

}  // namespace

IdFilter::IdFilter(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

IdFilter::IdFilter(std::span<const std::int64_t> ids) {
  auto impl = std::make_shared<Impl>();
  impl->ids.assign(ids.begin(), ids.end());
  impl_ = std::move(impl);
}

IdFilter IdFilter::from_places(std::span<const std::uint8_t> allowed) {
  auto impl = std::make_shared<Impl>();
  impl->places.assign(allowed.begin(), allowed.end());
  impl->has_places = true;
  return IdFilter(std::move(impl));
}

std::shared_ptr<const RowSet> IdFilter::Impl::rows(const HnswIndex::Impl& index) const {
  const std::lock_guard lock(mutex_);
  if (rows_ == nullptr || version_ != index.version) {
    rows_ =
        std::make_shared<const RowSet>(has_places ? rows_of_places(index, places) : rows_of_ids(index, ids));
    version_ = index.version;
  }
  return rows_;
}

}  // namespace whimbrel
