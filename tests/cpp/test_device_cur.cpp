// The l2-greedy choice of anchor items on the GPU: the items of the CPU. Part of the build only with CUDA.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cur_scores.hpp"
#include "device_sets.hpp"
#include "whimbrel/cuda/cur_greedy.hpp"

namespace whimbrel {
namespace {

TEST_CASE("the greedy choice of the GPU is that of the CPU") {
  if (!testing::have_device()) return;
  for (const CurStorage storage : {CurStorage::kFloat32, CurStorage::kFloat16, CurStorage::kInt8})
    for (const std::size_t n_queries : {5u, 70u}) {
      CAPTURE(static_cast<int>(storage));
      CAPTURE(n_queries);
      CurIndex index = testing::make_cur_index(n_queries, 3000, storage);
      index.remove(std::vector<std::int64_t>{3, 11, 200});
      cuda::CurGreedy passes(nullptr);
      const std::vector<std::int64_t> chosen = index.select_anchors(80, AnchorRule::kL2Greedy, 1);
      CHECK(index.select_anchors(80, AnchorRule::kL2Greedy, 1, 0, {}, &passes) == chosen);
      // An object can be used again.
      CHECK(index.select_anchors(20, AnchorRule::kL2Greedy, 1, 0, {}, &passes) ==
            std::vector<std::int64_t>(chosen.begin(), chosen.begin() + 20));
    }
}

}  // namespace
}  // namespace whimbrel
