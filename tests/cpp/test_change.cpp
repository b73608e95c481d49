// An index under change: the map of ids by itself, and searches beside threads that add, remove and replace.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <thread>
#include <vector>

#include "hnsw/id_map.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 8;

std::vector<float> random_rows(std::size_t n, std::uint64_t seed) {
  std::vector<float> out(n * kDim);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(random_bits(seed, RandomPurpose::kInsertionOrder, i) >> 40) / 16777216.0f;
  return out;
}

MatrixView<const float> view(const std::vector<float>& rows) {
  return {rows.data(), rows.size() / kDim, kDim};
}

HnswParams small_params(Codec codec = Codec::kF32) {
  HnswParams params;
  params.M = 4;
  params.ef_construction = 20;
  params.codec = codec;
  return params;
}

struct Found {
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
};

Found search(const HnswIndex& index, MatrixView<const float> queries, SearchParams params) {
  Found found{std::vector<std::int64_t>(queries.rows * params.k),
              std::vector<float>(queries.rows * params.k)};
  index.search(queries, params, found.ids.data(), found.distances.data());
  return found;
}

void prepare(IdMap& ids, std::size_t n, bool given) {
  IdMap::Arrays made = ids.room_for(n, given);
  ids.prepare(n, made);
}

void append(IdMap& ids, std::size_t n, std::span<const std::int64_t> given) {
  ids.append(ids.name(n, given));
}

}  // namespace

TEST_CASE("ids that are taken away leave all others where they are found") {
  IdMap ids;
  std::map<std::int64_t, std::uint32_t> expected;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    const auto id = static_cast<std::int64_t>(random_bits(1, RandomPurpose::kInsertionOrder, step) % 200);
    const auto found = ids.find(id);
    REQUIRE(found.has_value() == expected.contains(id));
    if (found) {
      CHECK(*found == expected[id]);
      ids.erase(*found);
      expected.erase(id);
    } else {
      ids.check(1, {&id, 1});
      prepare(ids, 1, true);
      append(ids, 1, {&id, 1});
      expected[id] = static_cast<std::uint32_t>(ids.size() - 1);
    }
  }
  RowSet kept;
  kept.resize(ids.size());
  for (const auto& [id, row] : expected) kept.insert(row);
  std::vector<std::int64_t> in_order;
  kept.for_each([&](std::uint32_t row) { in_order.push_back(ids.id(row)); });
  const IdMap apart = ids.kept(kept);
  ids.keep(kept);
  for (const IdMap* map : {&apart, static_cast<const IdMap*>(&ids)}) {
    REQUIRE(map->size() == expected.size());
    CHECK(map->next() == ids.next());
    for (std::size_t row = 0; row < in_order.size(); ++row) CHECK(map->find(in_order[row]) == row);
  }
}

TEST_CASE("many ids at once, and rows that take over ids, are found as if they came one by one") {
  constexpr std::size_t kMany = 3000;
  std::vector<std::int64_t> given(kMany);
  for (std::size_t i = 0; i < kMany; ++i) given[i] = static_cast<std::int64_t>(7 * i + 1);
  IdMap many, single;
  prepare(many, kMany, true);
  append(many, kMany, given);
  for (const std::int64_t& id : given) {
    prepare(single, 1, true);
    append(single, 1, {&id, 1});
  }
  std::vector<std::uint32_t> replaced(kMany / 2);
  for (std::size_t i = 0; i < replaced.size(); ++i) replaced[i] = static_cast<std::uint32_t>(2 * i);
  prepare(many, replaced.size(), true);
  many.append(many.name_like(replaced));
  many.forget(replaced);
  for (const std::uint32_t& row : replaced) {
    prepare(single, 1, true);
    single.append(single.name_like({&row, 1}));
    single.forget({&row, 1});
  }
  for (std::int64_t id = 0; id < static_cast<std::int64_t>(8 * kMany); ++id)
    CHECK(many.find(id) == single.find(id));
  for (std::size_t row = 0; row < many.size(); ++row) CHECK(many.id(row) == single.id(row));
  CHECK(many.find(1) == kMany);
  CHECK(!many.numbered());
}

TEST_CASE("ids given back after a failure are as before") {
  IdMap ids;
  prepare(ids, 3, false);
  append(ids, 3, {});
  prepare(ids, 5, true);
  ids.give_back(false);
  CHECK(!ids.stored());
  CHECK(ids.find(2) == 2);
  CHECK(ids.next() == 3);
  prepare(ids, 0, true);
  ids.erase(2);
  prepare(ids, 5, false);
  ids.give_back(true);
  CHECK(!ids.find(2));
  prepare(ids, 1, false);
  append(ids, 1, {});
  CHECK(ids.id(3) == 3);
  CHECK(ids.size() == 4);
}

TEST_CASE("searches go on beside threads that add, remove, replace, refine and compact") {
  for (const Codec codec : {Codec::kF32, Codec::kSq8}) {
    constexpr std::size_t kFixed = 1100, kRounds = 12, kBatch = 40;
    const auto fixed = random_rows(kFixed, 1);
    HnswIndex index = HnswIndex::build(view(fixed), small_params(codec));
    std::atomic<int> working = 2;
    std::atomic<std::size_t> failures = 0;

    const auto change = [&](std::uint64_t writer) {
      for (std::uint64_t round = 0; round < kRounds; ++round) {
        const auto rows = random_rows(kBatch, 100 * writer + round);
        std::vector<std::int64_t> ids(kBatch);
        for (std::size_t i = 0; i < kBatch; ++i)
          ids[i] = static_cast<std::int64_t>(10000 * writer + round % 3 * kBatch + i);
        AddOptions how;
        how.ids = ids;
        how.threads = 1 + round % 2;
        index.add(view(rows), how);
        const auto others = random_rows(kBatch / 2, 7000 + 100 * writer + round);
        index.update({ids.data(), kBatch / 2}, view(others));
        index.set_ef_search(static_cast<std::uint32_t>(20 + round));
        if (round % 4 == 1) index.refine({.threads = 2});
        if (round % 4 == 3) index.compact();
        index.remove(ids);
      }
      --working;
    };
    const auto read = [&](std::size_t reader) {
      const std::vector<std::int64_t> own{static_cast<std::int64_t>(reader * 7),
                                          static_cast<std::int64_t>(reader * 11 + 1)};
      const IdFilter only(own);
      const IdFilter* filters[] = {&only};
      for (std::size_t round = 0; working > 0; ++round) {
        SearchParams params;
        params.k = 3;
        params.threads = 1 + round % 2;
        params.exact = round % 3 == 0;
        const std::size_t first = round % (kFixed - 4);
        const MatrixView<const float> queries{fixed.data() + first * kDim, 4, kDim};
        const Found found = search(index, queries, params);
        for (std::size_t q = 0; q < 4; ++q) {
          const float* d = found.distances.data() + 3 * q;
          failures += !(d[0] <= d[1] && d[1] <= d[2]) || found.ids[3 * q + 2] < 0;
          if (params.exact) failures += found.ids[3 * q] != static_cast<std::int64_t>(first + q);
        }
        params.filters = filters;
        const Found filtered = search(index, queries, params);
        failures +=
            !std::is_permutation(own.begin(), own.end(), filtered.ids.begin(), filtered.ids.begin() + 2);
        failures += filtered.ids[2] != -1;
        std::vector<float> row(kDim);
        index.get_vectors({own.data(), 1}, row.data());
        failures += !std::equal(row.begin(), row.end(), fixed.data() + reader * 7 * kDim);
        failures += index.size() < kFixed || index.ids().size() < kFixed;
        index.neighbors(own[0], 0);
        if (round % 16 == 0) failures += index.validate().dead_edges + (index.stats().size < kFixed);
      }
    };
    std::vector<std::thread> threads;
    for (std::uint64_t writer = 1; writer <= 2; ++writer) threads.emplace_back(change, writer);
    for (std::size_t reader = 1; reader <= 3; ++reader) threads.emplace_back(read, reader);
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == 0);
    CHECK(index.size() == kFixed);
    index.compact();
    CHECK(index.validate().unreachable == 0);
    CHECK(index.stats().removed == 0);
    const Found all = search(index, view(fixed), {1, 60});
    std::size_t hits = 0;
    for (std::size_t i = 0; i < kFixed; ++i) hits += all.ids[i] == static_cast<std::int64_t>(i);
    CHECK(hits >= kFixed * 99 / 100);
  }
}

TEST_CASE("a search during an addition or update sees the old points only") {
  const auto rows = random_rows(3000, 3);
  HnswIndex index = HnswIndex::build({rows.data(), 1000, kDim}, small_params());
  const HnswIndex before = HnswIndex::build({rows.data(), 1000, kDim}, small_params());
  std::atomic<bool> done = false;
  std::vector<std::int64_t> first_half(500);
  for (std::size_t i = 0; i < 500; ++i) first_half[i] = static_cast<std::int64_t>(i);
  std::thread writer([&] {
    index.add({rows.data() + 1000 * kDim, 2000, kDim});
    index.update(first_half, {rows.data() + 2000 * kDim, 500, kDim});
    done = true;
  });
  SearchParams params;
  params.k = 5;
  params.exact = true;
  const MatrixView<const float> queries{rows.data(), 20, kDim};
  const Found old = search(before, queries, params);
  while (!done) {
    const std::size_t size_before = index.size();
    const Found found = search(index, queries, params);
    if (index.size() == 1000 && size_before == 1000) CHECK(found.ids == old.ids);
    for (const std::int64_t id : found.ids) CHECK(id < (index.size() == 1000 ? 1000 : 3000));
  }
  writer.join();
  CHECK(index.size() == 3000);
  CHECK_THROWS_AS(index.remove(std::vector<std::int64_t>{3000}), std::out_of_range);
}

TEST_CASE("the progress function of a change may not call its index") {
  const auto rows = random_rows(3000, 4);
  HnswIndex index = HnswIndex::build({rows.data(), 10, kDim}, small_params());
  AddOptions how;
  how.progress = [&](std::size_t, std::size_t) { search(index, {rows.data(), 1, kDim}, {1}); };
  CHECK_THROWS_AS(index.add(view(rows), how), std::logic_error);
  CHECK(index.size() == 10);
}
