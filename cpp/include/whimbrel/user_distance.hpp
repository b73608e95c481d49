// A distance of the caller's own, which an HnswIndex measures instead of a metric it knows.
//
//   whimbrel::HnswParams params;
//   params.metric = whimbrel::Metric::kUser;
//   params.distance = {"chi2", [](const float* query, std::size_t dim, const float* const* rows, std::size_t
//   n,
//                                 float* distances) {
//     for (std::size_t i = 0; i < n; ++i) distances[i] = chi2(query, rows[i], dim);
//   }};
//   auto index = whimbrel::HnswIndex::build(vectors, params);
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace whimbrel {

/// What is returned is what the function says, so results are the same for any number of threads as far as it
/// gives the same numbers each time.
struct UserDistance {
  /// Saved with the index: a file is loaded with a distance of the same name. 1 to 255 bytes.
  std::string name;

  /// distances[i] = distance of `query` to rows[i] for i < n, each of them `dim` values as the caller gave
  /// them. Smaller is nearer; negative ones are fine, +infinity is farther than whatever is found, NaN ends
  /// the call with std::invalid_argument. It need not obey the triangle inequality, but the graph is built as
  /// if distance(a, b) = distance(b, a).
  ///
  /// Called by all threads that work for a call, with locks of the index held: it must not call the index.
  /// What it throws ends the call and reaches its caller, and the index is left as by Cancelled (hooks.hpp).
  std::function<void(const float* query, std::size_t dim, const float* const* rows, std::size_t n,
                     float* distances)>
      measure;
};

}  // namespace whimbrel
