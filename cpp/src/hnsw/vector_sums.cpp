#include "hnsw/vector_sums.hpp"

#include <algorithm>
#include <vector>

#include "base/checksum.hpp"
#include "base/hooks.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {

VectorSums sum_vectors(const Graph& g, bool all) {
  constexpr std::size_t kSample = 64;
  std::vector<float> scratch(g.padded_dim());
  const auto sum = [&](std::size_t n) {
    Xxh64 checksum;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % 1024 == 0) check_stop();
      const auto node = static_cast<std::uint32_t>(i * g.size() / n);
      checksum.update(caller_row(g, node, scratch.data()), g.dim * sizeof(float));
    }
    return checksum.digest();
  };
  return {sum(std::min(kSample, g.size())), all ? sum(g.size()) : 0};
}

}  // namespace whimbrel
