// The device's selection of links, run by a warp of one lane: the lists of the CPU's linker.
#include "link_select.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/dispatch.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

class OneLane {
 public:
  OneLane(MatrixView<const float> rows, Metric metric)
      : rows_(rows), kernel_(kernels::metric_kernels(kernels::active_table(), metric).canonical) {}

  static unsigned lane() { return 0; }
  static unsigned lanes() { return 1; }
  static void sync() {}
  bool nearer(std::uint32_t row, const std::uint64_t* kept, unsigned n, float distance) const {
    return std::any_of(kept, kept + n, [&](std::uint64_t key) {
      return kernel_(rows_.row(row), rows_.row(cuda::row_of_key(key)), rows_.cols) < distance;
    });
  }

 private:
  MatrixView<const float> rows_;
  kernels::PairKernel kernel_;
};

/// The steps of cuda/src/hnsw_build.cu, one row after the other.
std::vector<std::uint32_t> link_like_the_device(const LevelToLink& level) {
  const std::size_t n = level.rows.rows, k = std::max<std::size_t>(1, std::min(level.ef_construction, n - 1));
  const auto max_own = static_cast<unsigned>(level.own), own_filled = static_cast<unsigned>(level.own_filled);
  const auto capacity = static_cast<unsigned>(level.capacity), filled = static_cast<unsigned>(level.filled);
  std::vector<std::int64_t> ids(n * k);
  std::vector<float> distances(n * k);
  KnnParams params;
  params.k = k;
  params.metric = level.metric;
  knn_earlier(level.rows, 0, params, ids.data(), distances.data());

  std::vector<std::uint64_t> kept(capacity), pruned(capacity), own(n * max_own, 7);
  const cuda::SelectRoom room{kept.data(), pruned.data()};
  const OneLane warp(level.rows, level.metric);
  for (std::size_t i = 0; i < n; ++i)
    cuda::choose_links(warp, k, ids.data() + i * k, distances.data() + i * k, max_own, own_filled, room,
                       own.data() + i * max_own);

  struct Edge {
    std::uint64_t key;
    std::uint32_t chooser;
  };
  std::vector<Edge> edges;
  for (std::size_t i = 0; i < own.size(); ++i)
    edges.push_back(
        {cuda::edge_key(own[i], static_cast<std::uint32_t>(n)), static_cast<std::uint32_t>(i / max_own)});
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.key < b.key; });

  std::vector<std::uint32_t> lists(n * capacity, 7);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t end = begin;
    while (end < edges.size() && cuda::target_of_edge(edges[end].key) == i) ++end;
    const auto chosen = [&](unsigned j) {
      return cuda::chooser_key(edges[begin + j].key, edges[begin + j].chooser);
    };
    cuda::answer_links(warp, max_own, own.data() + i * max_own, static_cast<unsigned>(end - begin), chosen,
                       capacity, filled, room, lists.data() + i * capacity, kNoLink);
    begin = end;
  }
  return lists;
}

void check_level(std::size_t n, std::size_t d, unsigned values, std::size_t M, std::size_t ef, bool fill,
                 Metric metric) {
  CAPTURE(n);
  CAPTURE(M);
  CAPTURE(ef);
  CAPTURE(fill);
  std::vector<float> rows(n * d);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<float>(random_bits(9, RandomPurpose::kInsertionOrder, i) % values) / 7 - 10;
  LevelToLink level;
  level.rows = {rows.data(), n, d};
  level.metric = metric;
  level.ef_construction = ef;
  level.own = M;
  level.capacity = 2 * M;
  level.own_filled = fill ? M : 0;
  level.filled = fill ? 2 * M : 0;
  std::vector<std::uint32_t> expected(n * level.capacity);
  link_nearest(knn_earlier)(level, expected.data());
  CHECK(link_like_the_device(level) == expected);
}

}  // namespace

TEST_CASE("a warp chooses and answers links as the CPU does") {
  for (const Metric metric : {Metric::kL2, Metric::kIp})
    for (const bool fill : {false, true})
      for (const unsigned values : {2u, 5u, 1000u}) {  // equal points, equal distances, neither
        check_level(1, 3, values, 2, 5, fill, metric);
        check_level(2, 3, values, 2, 5, fill, metric);
        check_level(30, 3, values, 4, 40, fill, metric);
        check_level(700, 4, values, 3, 25, fill, metric);
        check_level(700, 33, values, 16, 100, fill, metric);
      }
}

TEST_CASE("merged lists are sorted, whatever their lengths") {
  for (unsigned n_a = 0; n_a < 12; ++n_a)
    for (unsigned n_b = 0; n_b < 12; ++n_b)
      for (unsigned seed = 0; seed < 20; ++seed) {
        std::vector<std::uint64_t> all(n_a + n_b);
        std::iota(all.begin(), all.end(), 5u);
        std::vector<std::uint64_t> a, b;
        for (const std::uint64_t key : all) {
          const bool to_a = random_bits(seed, RandomPurpose::kHnswLevel, key) & 1;
          ((to_a && a.size() < n_a) || b.size() == n_b ? a : b).push_back(key);
        }
        std::vector<std::uint64_t> merged(all.size());
        cuda::merge_keys(
            OneLane({}, Metric::kL2), n_a, [&](unsigned i) { return a[i]; }, n_b,
            [&](unsigned i) { return b[i]; },
            [&](unsigned place, std::uint64_t key) { merged[place] = key; });
        CHECK(merged == all);
      }
}

TEST_CASE("edges sort by target, then distance, and what was not chosen comes last") {
  const std::uint64_t near = cuda::ranked(-2.0f, 4), far = cuda::ranked(3.0f, 4),
                      other = cuda::ranked(-9.0f, 5);
  CHECK(cuda::edge_key(near, 10) < cuda::edge_key(far, 10));
  CHECK(cuda::edge_key(far, 10) < cuda::edge_key(other, 10));
  CHECK(cuda::edge_key(other, 10) < cuda::edge_key(cuda::kUnranked, 10));
  CHECK(cuda::target_of_edge(cuda::edge_key(far, 10)) == 4);
  CHECK(cuda::chooser_key(cuda::edge_key(far, 10), 8) == cuda::ranked(3.0f, 8));
  CHECK(cuda::distance_of_key(near) == -2.0f);
}
