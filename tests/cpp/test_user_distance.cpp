// An index whose distance the caller supplies: every call of it, what its failures leave, its files, and C.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "random_values.hpp"
#include "whimbrel.h"
#include "whimbrel/byte_io.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 5;  // not a whole cache line
using Rows = std::vector<float>;
using Pair = double (*)(const float* a, const float* b);

MatrixView<const float> view(const Rows& rows, std::size_t n) { return {rows.data(), n, kDim}; }

double l2(const float* a, const float* b) {
  double sum = 0;
  for (std::size_t j = 0; j < kDim; ++j) sum += (double{a[j]} - b[j]) * (double{a[j]} - b[j]);
  return sum;
}

/// Coordinates count by their place: padding, another order or a norm would be noticed.
double weighted(const float* a, const float* b) {
  double sum = 0;
  for (std::size_t j = 0; j < kDim; ++j) sum += std::pow(4.0, double(j)) * std::abs(double{a[j]} - b[j]);
  return sum;
}

/// Jaccard distance of positive values (Ruzicka): far from any sum over coordinates.
double jaccard(const float* a, const float* b) {
  double low = 0, high = 0;
  for (std::size_t j = 0; j < kDim; ++j) {
    low += std::min(std::abs(a[j]), std::abs(b[j]));
    high += std::max(std::abs(a[j]), std::abs(b[j]));
  }
  return high > 0 ? 1 - low / high : 0;
}

UserDistance distance_of(Pair pair, std::string name = "test") {
  return {std::move(name),
          [pair](const float* query, std::size_t dim, const float* const* rows, std::size_t n, float* out) {
            if (dim != kDim || n == 0) throw std::logic_error("a call that should not have been");
            for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(pair(query, rows[i]));
          }};
}

HnswParams user_params(UserDistance distance) {
  HnswParams params;
  params.metric = Metric::kUser;
  params.M = 6;
  params.ef_construction = 40;
  params.distance = std::move(distance);
  return params;
}

struct Hits {
  std::vector<std::int64_t> ids;
  Rows distances;
};

Hits search(const HnswIndex& index, MatrixView<const float> queries, const SearchParams& params) {
  Hits hits{std::vector<std::int64_t>(queries.rows * params.k), Rows(queries.rows * params.k)};
  index.search(queries, params, hits.ids.data(), hits.distances.data());
  return hits;
}

/// The k nearest of a query among rows with some ids, in double precision.
std::vector<std::int64_t> nearest(const Rows& rows, std::span<const std::int64_t> ids, const float* query,
                                  std::size_t k, Pair pair) {
  std::vector<std::pair<double, std::int64_t>> all;
  for (const std::int64_t id : ids)
    all.emplace_back(static_cast<float>(pair(query, rows.data() + static_cast<std::size_t>(id) * kDim)), id);
  std::sort(all.begin(), all.end());
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < k; ++i) out.push_back(all[i].second);
  return out;
}

std::string bytes_of(const HnswIndex& index) {
  std::string bytes;
  index.save([&](const void* data, std::size_t size) { bytes.append(static_cast<const char*>(data), size); });
  return bytes;
}

HnswIndex read(const std::string& bytes, const UserDistance& distance = {}) {
  return HnswIndex::load(bytes_source(std::as_bytes(std::span(bytes))), {.distance = distance});
}

/// Fails from one call of it on.
struct Failing {
  std::atomic<std::int64_t> calls_left = std::numeric_limits<std::int64_t>::max();

  UserDistance distance() {
    return {"failing",
            [this](const float* query, std::size_t, const float* const* rows, std::size_t n, float* out) {
              if (--calls_left < 0) throw std::runtime_error("the device is gone");
              for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(l2(query, rows[i]));
            }};
  }
};

}  // namespace

TEST_CASE("an index measures what the caller's function says, in every search") {
  constexpr std::size_t kRows = 900, kQueries = 40, kK = 5;
  const Rows rows = values(kRows * kDim, 1), queries = values(kQueries * kDim, 2);
  for (const Pair pair : {l2, weighted, jaccard}) {
    HnswIndex index = HnswIndex::build(view(rows, kRows), user_params(distance_of(pair)));
    CHECK(index.validate().unreachable == 0);
    std::vector<std::int64_t> gone, left, few;
    for (std::int64_t i = 0; i < std::int64_t{kRows}; ++i) (i % 9 == 0 ? gone : left).push_back(i);
    index.remove(gone);
    const auto check = [&] {
      SearchParams how{.k = kK, .ef_search = 80, .exact = true};
      const Hits exact = search(index, view(queries, kQueries), how);
      how.exact = false;
      const Hits found = search(index, view(queries, kQueries), how);
      std::size_t hits = 0;
      for (std::size_t q = 0; q < kQueries; ++q) {
        const float* query = queries.data() + q * kDim;
        const auto truth = nearest(rows, left, query, kK, pair);
        const std::span ids(exact.ids.data() + q * kK, kK);
        CHECK(std::equal(truth.begin(), truth.end(), ids.begin()));
        for (std::size_t i = 0; i < kK; ++i) {
          const auto id = found.ids[q * kK + i];
          CHECK(found.distances[q * kK + i] ==
                static_cast<float>(pair(query, rows.data() + static_cast<std::size_t>(id) * kDim)));
          hits += std::find(ids.begin(), ids.end(), id) != ids.end();
        }
      }
      CHECK(hits >= kQueries * kK * 97 / 100);
    };
    check();
    index.compact();
    check();

    for (const std::int64_t id : left)
      if (id % 4 == 1) few.push_back(id);
    const IdFilter only(few);
    const IdFilter* filters[] = {&only};
    const Hits filtered = search(index, view(queries, 1), {.k = kK, .ef_search = 100, .filters = filters});
    CHECK(filtered.ids == nearest(rows, few, queries.data(), kK, pair));

    const auto truth = nearest(rows, left, queries.data(), left.size(), pair);
    const auto radius =
        static_cast<float>(pair(queries.data(), rows.data() + static_cast<std::size_t>(truth[20]) * kDim));
    const RangeResult near = index.range_search(view(queries, 1), radius, {.ef_search = 200});
    CHECK(std::equal(near.ids.begin(), near.ids.end(), truth.begin()));
    CHECK(near.ids.size() == 20);

    const KnnGraph graph = index.knn_graph({.k = 1, .ef_search = 50});
    std::size_t right = 0;
    for (std::size_t i = 0; i < graph.ids.size(); ++i) {
      const float* row = rows.data() + static_cast<std::size_t>(graph.ids[i]) * kDim;
      right += graph.neighbors[i] == nearest(rows, left, row, 2, pair)[1];
    }
    CHECK(right >= graph.ids.size() * 97 / 100);
    CHECK(index.tune({.recall = 0.9}).measured >= 0.9);

    // Replaced by one another's vectors.
    const std::vector<std::int64_t> both{1, 2};
    Rows swapped(rows.begin() + 2 * kDim, rows.begin() + 3 * kDim);
    swapped.insert(swapped.end(), rows.begin() + kDim, rows.begin() + 2 * kDim);
    index.update(both, view(swapped, 2));
    CHECK(search(index, view(swapped, 1), {.k = 1}).ids[0] == 1);
    Rows out(kDim);
    index.get_vectors({both.data(), 1}, out.data());
    CHECK(std::equal(out.begin(), out.end(), swapped.begin()));
  }
}

TEST_CASE("squared distances of the caller's find what the metric l2 finds") {
  const Rows rows = values(600 * kDim, 3), queries = values(50 * kDim, 4);
  const HnswIndex index = HnswIndex::build(view(rows, 600), user_params(distance_of(l2)));
  std::vector<std::int64_t> ids(50 * 3);
  Rows distances(50 * 3);
  knn(view(rows, 600), view(queries, 50), {.k = 3}, ids.data(), distances.data());
  const Hits found = search(index, view(queries, 50), {.k = 3, .ef_search = 200});
  CHECK(found.ids == ids);
  for (std::size_t i = 0; i < ids.size(); ++i)
    CHECK(found.distances[i] == doctest::Approx(distances[i]).epsilon(1e-6));
}

TEST_CASE("the graph of a caller's distance does not depend on the number of threads") {
  const Rows rows = values(1500 * kDim, 5);
  std::string first;
  for (const std::size_t threads : {1, 3}) {
    HnswIndex index(kDim, user_params(distance_of(weighted)));
    index.add(view(rows, 1400), {.threads = threads});
    index.add({rows.data() + 1400 * kDim, 100, kDim}, {.threads = threads});
    if (first.empty()) first = bytes_of(index);
    CHECK((bytes_of(index) == first));
  }
}

TEST_CASE("a distance that fails ends the call with its error, and nothing has changed") {
  const Rows rows = values(800 * kDim, 6);
  Failing failing;
  HnswIndex index = HnswIndex::build(view(rows, 600), user_params(failing.distance()));
  const std::string before = bytes_of(index);
  const auto fails = [&](std::int64_t after, const auto& call) {
    failing.calls_left = after;
    CHECK_THROWS_WITH_AS(call(), "the device is gone", std::runtime_error);
    failing.calls_left = std::numeric_limits<std::int64_t>::max();
  };
  const MatrixView<const float> more(rows.data() + 600 * kDim, 200, kDim);
  const std::vector<std::int64_t> ids{10, 20};
  for (const std::int64_t after : {0, 1, 10, 100, 1000, 5000}) {
    fails(after, [&] { index.add(more, {.threads = 2}); });
    CHECK(index.size() == 600);
  }
  fails(0, [&] { index.add(view(rows, 1)); });
  for (const std::int64_t after : {0, 20}) fails(after, [&] { index.update(ids, view(rows, 2)); });
  fails(0, [&] { search(index, view(rows, 3), {.k = 2}); });
  fails(1, [&] { search(index, view(rows, 3), {.k = 2, .exact = true}); });
  fails(1, [&] { index.range_search(view(rows, 3), 0.1f); });
  fails(50, [&] { index.knn_graph({.k = 2}); });
  fails(1000, [&] { index.tune({}); });
  CHECK((bytes_of(index) == before));
  CHECK(index.validate().dead_edges == 0);

  // Removed all the same; links are repaired by the next change.
  std::vector<std::int64_t> many;
  for (std::int64_t i = 100; i < 200; ++i) many.push_back(i);
  fails(5, [&] { index.remove(many); });
  CHECK(index.size() == 500);
  fails(5, [&] { index.compact(); });
  index.compact();
  CHECK(index.validate().unreachable == 0);
  index.add(more, {});
  CHECK(index.size() == 700);
  CHECK(search(index, view(rows, 1), {.k = 1}).ids[0] == 0);

  HnswIndex empty(kDim, user_params(failing.distance()));
  fails(3, [&] { empty.add(view(rows, 500)); });
  CHECK(empty.size() == 0);
  empty.add(view(rows, 500));
  CHECK(empty.size() == 500);
}

TEST_CASE("a distance that is no number is an error that names the pair, infinity is far") {
  const Rows rows = values(200 * kDim, 7);
  const auto odd = [&](float bad) {
    return UserDistance{
        "odd", [bad](const float* query, std::size_t, const float* const* others, std::size_t n, float* out) {
          for (std::size_t i = 0; i < n; ++i)
            out[i] = others[i][0] > 1 || query[0] > 1 ? bad : static_cast<float>(l2(query, others[i]));
        }};
  };
  Rows with_odd = rows;
  with_odd[7 * kDim] = 2;
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  HnswIndex index(kDim, user_params(odd(kNaN)));
  CHECK_THROWS_WITH_AS(index.add(view(with_odd, 200)),
                       "distance: expected a number of 'odd', got NaN for row 7 and row 0",
                       std::invalid_argument);
  CHECK(index.size() == 0);
  index.add(view(rows, 200));
  CHECK_THROWS_AS(search(index, {with_odd.data() + 7 * kDim, 1, kDim}, {.k = 1}), std::invalid_argument);
  const HnswIndex far =
      HnswIndex::build(view(with_odd, 200), user_params(odd(std::numeric_limits<float>::infinity())));
  CHECK(far.validate().unreachable == 0);
  const Hits found = search(far, view(with_odd, 7), {.k = 1});
  for (std::int64_t i = 0; i < 7; ++i) CHECK(found.ids[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("a file is loaded with the distance it names, and with no other") {
  const Rows rows = values(300 * kDim, 8);
  const HnswIndex index = HnswIndex::build(view(rows, 300), user_params(distance_of(weighted, "weighted")));
  const std::string bytes = bytes_of(index);
  const HnswIndex again = read(bytes, distance_of(weighted, "weighted"));
  CHECK((bytes_of(again) == bytes));
  CHECK(again.params().distance.name == "weighted");
  CHECK(search(again, view(rows, 5), {.k = 2}).distances == search(index, view(rows, 5), {.k = 2}).distances);
  CHECK_THROWS_WITH_AS(read(bytes), "distance: expected 'weighted', which the index was built with, got none",
                       std::invalid_argument);
  CHECK_THROWS_AS(read(bytes, distance_of(weighted, "weights")), std::invalid_argument);
  HnswParams plain;
  CHECK_THROWS_AS(read(bytes_of(HnswIndex::build(view(rows, 50), plain)), distance_of(l2)),
                  std::invalid_argument);
  for (const std::size_t length : {std::size_t{100}, bytes.size() / 2, bytes.size() - 1})
    CHECK_THROWS_AS(read(bytes.substr(0, length), distance_of(weighted, "weighted")), FormatError);
}

TEST_CASE("what a distance of the caller's cannot be had with is refused") {
  const auto refused = [](const HnswParams& params) {
    CHECK_THROWS_AS(HnswIndex(kDim, params), std::invalid_argument);
  };
  HnswParams params = user_params(distance_of(l2));
  params.codec = Codec::kSq8;
  refused(params);
  params.codec = Codec::kF16;
  params.rerank = Rerank::kF16;
  refused(params);
  refused(user_params({}));
  refused(user_params({"a name", {}}));
  refused(user_params(distance_of(l2, "")));
  refused(user_params(distance_of(l2, std::string(256, 'x'))));
  params = user_params(distance_of(l2));
  params.metric = Metric::kL2;
  refused(params);
  const Rows rows = values(20 * kDim, 9);
  CHECK_THROWS_AS(
      HnswIndex::bulk_build(view(rows, 20), user_params(distance_of(l2)), {}, link_nearest(knn_earlier)),
      std::invalid_argument);
  std::vector<std::int64_t> ids(20);
  Rows distances(20);
  CHECK_THROWS_AS(knn_self(view(rows, 20), {.k = 1, .metric = Metric::kUser}, ids.data(), distances.data()),
                  std::invalid_argument);
  Rows odd = rows;
  odd[3] = std::numeric_limits<float>::infinity();
  HnswIndex index(kDim, user_params(distance_of(l2)));
  CHECK_THROWS_AS(index.add(view(odd, 20)), std::invalid_argument);
}

TEST_CASE("searches by a caller's distance go on beside a change") {
  const Rows rows = values(1000 * kDim, 10);
  HnswIndex index = HnswIndex::build(view(rows, 200), user_params(distance_of(jaccard)));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (std::size_t i = 200; i < 1000; i += 100)
      index.add({rows.data() + i * kDim, 100, kDim}, {.threads = 2});
    index.remove(std::vector<std::int64_t>{900, 901});
    done = true;
  });
  std::size_t wrong = 0;
  while (!done) {
    const Hits found = search(index, view(rows, 4), {.k = 3, .threads = 2});
    for (std::size_t q = 0; q < 4; ++q) wrong += found.ids[3 * q] != static_cast<std::int64_t>(q);
  }
  writer.join();
  CHECK(wrong == 0);
  CHECK(index.size() == 998);
}

namespace {

/// Absolute differences, until `fail` is set.
int measure(void* context, const float* query, std::size_t dim, const float* const* rows, std::size_t n,
            float* distances) {
  const int fail = *static_cast<const int*>(context);
  for (std::size_t i = 0; i < n && fail == 0; ++i) {
    distances[i] = 0;
    for (std::size_t j = 0; j < dim; ++j) distances[i] += std::abs(query[j] - rows[i][j]);
  }
  return fail;
}

}  // namespace

TEST_CASE("a distance in C") {
  const Rows rows = values(400 * kDim, 11);
  int fail = 0;
  wb_distance distance = {};
  distance.struct_size = sizeof distance;
  distance.name = "l1";
  distance.measure = measure;
  distance.context = &fail;
  wb_hnsw *index = nullptr, *other = nullptr;
  REQUIRE(wb_hnsw_create_user(kDim, &distance, nullptr, &index) == WB_OK);
  REQUIRE(wb_hnsw_add(index, {rows.data(), 400, kDim, 0, WB_FLOAT32}, nullptr, nullptr, nullptr) == WB_OK);
  std::int64_t id = -1;
  float found = -1;
  REQUIRE(wb_hnsw_search(index, {rows.data() + 7 * kDim, 1, kDim, 0, WB_FLOAT32}, 1, 0, nullptr, &id,
                         &found) == WB_OK);
  CHECK(id == 7);
  CHECK(found == 0);
  fail = 5;
  CHECK(wb_hnsw_search(index, {rows.data(), 1, kDim, 0, WB_FLOAT32}, 1, 0, nullptr, &id, &found) ==
        WB_DISTANCE_FAILED);
  CHECK(std::string(wb_error_message()) == "distance: expected 0 from its function, got 5");
  fail = 0;

  std::string bytes;
  const auto append = [](void* to, const void* data, std::size_t size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
    return 0;
  };
  const auto take = [](void* from, void* data, std::size_t size) {
    auto& rest = *static_cast<std::string*>(from);
    const std::size_t n = rest.copy(static_cast<char*>(data), size);
    rest.erase(0, n);
    return n;
  };
  REQUIRE(wb_hnsw_write(index, append, &bytes) == WB_OK);
  std::string rest = bytes;
  REQUIRE(wb_hnsw_read_user(take, &rest, &distance, &other) == WB_OK);
  REQUIRE(wb_hnsw_search(other, {rows.data() + 9 * kDim, 1, kDim, 0, WB_FLOAT32}, 1, 0, nullptr, &id,
                         &found) == WB_OK);
  CHECK(id == 9);
  wb_hnsw_free(other);
  other = nullptr;
  rest = bytes;
  CHECK(wb_hnsw_read(take, &rest, &other) == WB_INVALID_ARGUMENT);
  rest = bytes;
  distance.name = "l2";
  CHECK(wb_hnsw_read_user(take, &rest, &distance, &other) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_load_user("/no/such/file", &distance, &other) == WB_IO_ERROR);
  CHECK(wb_hnsw_create_user(kDim, nullptr, nullptr, &other) == WB_INVALID_ARGUMENT);
  wb_hnsw_options options = {};
  options.struct_size = sizeof options;
  options.metric = WB_IP;
  CHECK(wb_hnsw_create_user(kDim, &distance, &options, &other) == WB_INVALID_ARGUMENT);
  distance.measure = nullptr;
  CHECK(wb_hnsw_create_user(kDim, &distance, nullptr, &other) == WB_INVALID_ARGUMENT);
  distance.measure = measure;
  distance.name = nullptr;
  CHECK(wb_hnsw_create_user(kDim, &distance, nullptr, &other) == WB_INVALID_ARGUMENT);
  CHECK(other == nullptr);
  wb_hnsw_free(index);
}
