// All points nearer than a radius: the beam is widened until it reaches well beyond.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "hnsw/query.hpp"

namespace whimbrel {

RangeResult HnswIndex::range_search(VectorsView queries, float radius, const SearchParams& params) const {
  const std::size_t threads = resolve_threads(params.threads);
  if (std::isnan(radius)) throw std::invalid_argument("radius: expected a number, got NaN");
  check_queries(*impl_, queries, params.filters.size(), threads);
  using Hits = std::vector<std::pair<float, std::int64_t>>;
  std::vector<Hits> hits(queries.rows);
  ProgressMeter meter(params.progress, queries.rows);
  const std::size_t slice = query_slice(params.exact);
  for (std::size_t begin = 0; begin < queries.rows;) {
    const auto lock = impl_->read();
    const std::size_t n_live = impl_->graph.live.count();
    const std::size_t ef = params.ef_search ? params.ef_search : impl_->graph.params.ef_search;
    const Allowed allowed(*impl_, params.filters);
    const float shift = distance_shift(*impl_);
    begin = for_each_query(*impl_, begin, std::min(queries.rows, begin + slice), threads, meter, true,
                           [&](std::size_t q, SearchScratch& scratch) {
                             const RowSet* rows = allowed.of_query(q);
                             const std::size_t n = rows == nullptr ? n_live : rows->count();
                             for (std::size_t k = params.exact ? std::max<std::size_t>(n, 1) : ef;; k *= 2) {
                               Query(*impl_, k, 0, params.exact).run(queries, q, rows, scratch);
                               const auto& found = scratch.results;
                               const auto end = std::find_if(
                                   found.begin(), found.end(),
                                   [&](const auto& hit) { return !(hit.first + shift < radius); });
                               // A quarter beyond the radius says that the beam does not end where it should
                               // go on.
                               const auto inside = static_cast<std::size_t>(end - found.begin());
                               if (k < n && inside > found.size() / 4 * 3) continue;
                               hits[q].assign(found.begin(), end);
                               for (auto& hit : hits[q]) hit.first += shift;
                               break;
                             }
                           });
  }
  meter.finish();
  RangeResult out;
  out.offsets.push_back(0);
  for (const Hits& of_query : hits) {
    for (const auto& [distance, id] : of_query) {
      out.ids.push_back(id);
      out.distances.push_back(distance);
    }
    out.offsets.push_back(static_cast<std::int64_t>(out.ids.size()));
  }
  return out;
}

}  // namespace whimbrel
