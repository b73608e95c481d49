// Stops and limits at every stage of every call: it ends with the error that says so, what it would have
// changed is as it was, and nothing stays on the account.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "random_sets.hpp"
#include "whimbrel/ball_carving.hpp"
#include "whimbrel/cur.hpp"
#include "whimbrel/cur_search.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"
#include "whimbrel/insertion_order.hpp"
#include "whimbrel/lemur.hpp"
#include "whimbrel/maxsim.hpp"
#include "whimbrel/multi_vector_index.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 8, kN = 300, kMore = 150, kK = 5;
const RandomSets kSet({kN + kMore}, kDim, 5);
const RandomSets kDocSets(std::vector<std::size_t>(60, 4), kDim, 6);
const RandomSets kScoreSet({24}, kN, 7);
const MatrixView<const float> kRows(kSet.tokens.data(), kN, kDim);
const MatrixView<const float> kMoreRows(kSet.tokens.data() + kN * kDim, kMore, kDim);
const RaggedView kDocs = kDocSets.view();
const MatrixView<const float> kEncodings(kSet.tokens.data(), kDocs.size(), kDim);
const MatrixView<const float> kScores = kScoreSet.view().tokens;  // (24, kN)

template <class Index>
std::string bytes_of(const Index& index) {
  std::string bytes;
  const ByteSink sink = [&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
  };
  if constexpr (requires { index.save(sink); })
    index.save(sink);
  else
    index.save(sink, {});
  return bytes;
}

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// Results of a call; on failure they are not looked at.
struct Results {
  explicit Results(std::size_t n) : ids(n), values(n) {}
  std::vector<std::int64_t> ids;
  std::vector<float> values;
};

/// One entry point: objects ready for the call, the call, and what must not change if it fails.
struct Entry {
  const char* name;
  std::function<void()> call;
  std::function<std::string()> state = [] { return std::string(); };
  std::function<void()> forget = [] {};  // what the call made
};

/// Objects that the entry points work on. Made anew for each test, without hooks.
struct World {
  HnswIndex hnsw = HnswIndex::build(kRows, {.M = 4, .ef_construction = 20});
  MultiVectorIndex sets{{.dim = kDim, .encoding_dim = kDim, .store = TokenType::kInt8}};
  TokenStore tokens{kDim, TokenType::kInt8};
  CurIndex cur = CurIndex::fit(kScores, {});
  FdeEncoder fde{make_fde()};
  std::string hnsw_bytes, sets_bytes, cur_bytes;
  Results results{2 * kN * kN};
  std::optional<HnswIndex> new_hnsw;
  std::optional<MultiVectorIndex> new_sets;
  std::optional<CurIndex> new_cur;
  std::vector<double> doubles = std::vector<double>(kN);
  std::vector<float> encodings = std::vector<float>(kDocs.size() * 2000);

  static FdeParams make_fde() {
    FdeParams params;
    params.dim = kDim;
    params.r_reps = 3;
    return params;
  }

  World() {
    sets.add(kEncodings, kDocs);
    tokens.add(kDocs);
    hnsw_bytes = bytes_of(hnsw);
    sets_bytes = bytes_of(sets);
    cur_bytes = bytes_of(cur);
  }

  std::vector<std::int64_t> some_ids() const {
    std::vector<std::int64_t> ids(kMore);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(100000 - 3 * i);
    return ids;
  }

  std::vector<Entry> entries() {
    const auto hnsw_state = [this] { return bytes_of(hnsw); };
    const auto sets_state = [this] { return bytes_of(sets); };
    const auto cur_state = [this] { return bytes_of(cur); };
    const auto forget_hnsw = [this] { new_hnsw.reset(); };
    const auto forget_sets = [this] { new_sets.reset(); };
    const auto forget_cur = [this] { new_cur.reset(); };
    return {
        {"knn", [this] { knn(kRows, kMoreRows, {.k = kK}, results.ids.data(), results.values.data()); }},
        {"knn, cosine",
         [this] {
           knn_self(kRows, {.k = kK, .metric = Metric::kCosine}, results.ids.data(), results.values.data());
         }},
        {"pairwise_distances",
         [this] { pairwise_distances(kRows, kRows, Metric::kCosine, 2, {}, results.values.data()); }},
        {"maxsim_matrix", [this] { maxsim_matrix(kDocs, kDocs, {}, results.values.data()); }},
        {"ball_carving", [] { ball_carving(kDocs, 0.5f); }},
        {"random_order", [this] { random_order(3, {results.ids.data(), kN}); }},
        {"distance_to_mean", [this] { distance_to_mean(kRows, 2, doubles); }},
        {"HnswIndex::build", [this] { new_hnsw = HnswIndex::build(kRows, {.M = 4, .ef_construction = 20}); },
         [] { return std::string(); }, forget_hnsw},
        {"HnswIndex::bulk_build",
         [this] {
           new_hnsw =
               HnswIndex::bulk_build(kRows, {.M = 4, .ef_construction = 20}, {}, link_nearest(knn_earlier));
         },
         [] { return std::string(); }, forget_hnsw},
        {"HnswIndex::add, ids",
         [this] {
           const auto ids = some_ids();
           hnsw.add(kMoreRows, {.ids = ids, .threads = 2});
         },
         hnsw_state},
        {"HnswIndex::search",
         [this] { hnsw.search(kMoreRows, {.k = kK}, results.ids.data(), results.values.data()); }},
        {"HnswIndex::refine", [this] { hnsw.refine({.threads = 2}); }, hnsw_state},
        {"HnswIndex::update",
         [this] {
           std::vector<std::int64_t> ids(kMore);
           std::iota(ids.begin(), ids.end(), 0);
           hnsw.update(ids, kMoreRows, {.threads = 2});
         },
         hnsw_state},
        {"HnswIndex::range_search", [this] { hnsw.range_search(kMoreRows, 1.0f); }},
        {"HnswIndex::knn_graph", [this] { hnsw.knn_graph({.k = kK}); }},
        {"HnswIndex::tune", [this] { hnsw.tune({.recall = 0.5, .k = kK}); }, hnsw_state},
        {"HnswIndex::save", [this] { bytes_of(hnsw); }},
        {"HnswIndex::load", [this] { new_hnsw = HnswIndex::load(bytes_source(as_bytes(hnsw_bytes))); },
         [] { return std::string(); }, forget_hnsw},
        {"FdeEncoder", [] { const FdeEncoder made(make_fde()); }},
        {"FdeEncoder::encode_documents",
         [this] { fde.encode_documents(kDocs, {}, {.f32 = encodings.data()}); }},
        {"LemurEncoder",
         [this] {
           const LemurEncoder made(kRows, {.width = 16});
           made.encode_documents(kDocs, {}, encodings.data());
         }},
        {"TokenStore::add", [this] { tokens.add(kDocs, 2); },
         [this] { return std::to_string(tokens.size()) + " " + std::to_string(tokens.memory_usage()); }},
        {"MultiVectorIndex::add", [this] { sets.add(kEncodings, kDocs, 2); }, sets_state},
        {"MultiVectorIndex::search",
         [this] {
           sets.search(kEncodings, kDocs, {.k = kK, .candidates = 10}, results.ids.data(),
                       results.values.data());
         }},
        {"MultiVectorIndex::save", [this] { bytes_of(sets); }},
        {"MultiVectorIndex::load",
         [this] { new_sets = std::move(MultiVectorIndex::load(bytes_source(as_bytes(sets_bytes))).index); },
         [] { return std::string(); }, forget_sets},
        {"MultiVectorIndex::view",
         [this] { new_sets = std::move(MultiVectorIndex::view(as_bytes(sets_bytes)).index); },
         [] { return std::string(); }, forget_sets},
        {"MultiVectorIndex::compress", [this] { sets.compress(); }, sets_state},
        {"CurIndex::fit", [this] { new_cur = CurIndex::fit(kScores, {.rank = 8}, kScores); },
         [] { return std::string(); }, forget_cur},
        {"CurIndex::add_items", [this] { cur.add_items(kScores); }, cur_state},
        {"CurIndex::add_queries",
         [this] {
           const MatrixView<const float> two(kScores.data, 2, cur.size());
           cur.add_queries(two);
         },
         cur_state},
        {"CurIndex::load", [this] { new_cur = CurIndex::load(bytes_source(as_bytes(cur_bytes))); },
         [] { return std::string(); }, forget_cur},
        {"CurSearch",
         [this] {
           CurSearch search(cur, {.budget = 40, .rounds = 3});
           for (std::size_t n; (n = search.next_items().size()) > 0;) search.observe({kScores.data, n});
         }},
    };
  }
};

}  // namespace

TEST_CASE("a call that is stopped at any stage leaves everything as it was") {
  World world;
  for (const Entry& entry : world.entries()) {
    CAPTURE(entry.name);
    const std::string before = entry.state();
    std::size_t stops = 0;
    for (std::size_t allowed = 0;; allowed += 1 + allowed / 3) {
      std::atomic<std::size_t> asked{0};
      Hooks hooks;
      hooks.stop = [&] { return asked++ >= allowed; };
      try {
        const UseHooks scope(hooks);
        entry.call();
        break;
      } catch (const Cancelled&) {
        ++stops;
      }
      REQUIRE(entry.state() == before);
    }
    entry.forget();
    CHECK(
        (stops > 0 || std::string(entry.name) == "random_order" || std::string(entry.name) == "FdeEncoder"));
  }
}

TEST_CASE("a call beyond its deadline says so") {
  World world;
  Hooks hooks;
  hooks.deadline = std::chrono::steady_clock::now();
  for (const Entry& entry : world.entries()) {
    if (std::string(entry.name) == "random_order" || std::string(entry.name) == "FdeEncoder") continue;
    CAPTURE(entry.name);
    const UseHooks scope(hooks);
    CHECK_THROWS_AS(entry.call(), DeadlineExceeded);
  }
}

TEST_CASE("a limit of one byte, or of any more that are too few, is an error that leaves nothing behind") {
  std::deque<MemoryLimit> accounts;  // what calls that succeed keep stays on theirs
  World world;
  for (const Entry& entry : world.entries()) {
    CAPTURE(entry.name);
    const bool allocates = std::string(entry.name) != "distance_to_mean" &&
                           std::string(entry.name) != "HnswIndex::save" &&
                           std::string(entry.name) != "MultiVectorIndex::save";
    const std::string before = entry.state();
    std::size_t refusals = 0;
    for (std::size_t limit = 1;; limit += 1 + limit / 3) {
      MemoryLimit& account = accounts.emplace_back(limit);
      Hooks hooks;
      hooks.memory = &account;
      try {
        const UseHooks scope(hooks);
        entry.call();
        break;
      } catch (const MemoryLimitExceeded& error) {
        ++refusals;
        CHECK(std::string(error.what()).find("memory: expected room for ") == 0);
      }
      REQUIRE(account.used() == 0);
      REQUIRE(entry.state() == before);
    }
    CHECK((refusals > 0) == allocates);
    entry.forget();
  }
}

TEST_CASE("what an index keeps is on the account, byte for byte, until it goes") {
  MemoryLimit account(std::size_t{1} << 30), other(std::size_t{1} << 30);
  Hooks hooks, other_hooks;
  hooks.memory = &account;
  other_hooks.memory = &other;
  {
    HnswIndex index(kDim, {.M = 4, .ef_construction = 20});
    {
      const UseHooks scope(hooks);
      index.add(kRows);
      CHECK(account.used() == index.memory_usage());
    }
    const std::size_t before = account.used();
    {
      const UseHooks scope(other_hooks);
      index.add(kMoreRows);
      // Rows stay where they are; the set of the rows that are there is made anew, a bit for each.
      CHECK(account.used() == before - (kRows.rows + 63) / 64 * sizeof(std::uint64_t));
      CHECK(account.used() + other.used() == index.memory_usage());
      Results results(kMore * kK);
      index.search(kMoreRows, {.k = kK}, results.ids.data(), results.values.data());
      CHECK(account.used() + other.used() == index.memory_usage());
    }
  }
  CHECK(account.used() == 0);
  CHECK(other.used() == 0);
}

TEST_CASE("compact moves rows in place where there is no memory for a copy, to the same index") {
  std::vector<std::int64_t> gone(kN / 3);
  for (std::size_t i = 0; i < gone.size(); ++i) gone[i] = static_cast<std::int64_t>(3 * i);
  const auto reduced = [&] {
    HnswIndex index = HnswIndex::build(kRows, {.M = 4, .ef_construction = 20});
    index.remove(gone);
    return index;
  };
  HnswIndex copied = reduced();
  copied.compact();
  std::size_t limit = 0;
  for (bool enough = false; !enough;) {
    MemoryLimit account(limit += 256);  // what the index keeps is on it
    HnswIndex index = reduced();
    Hooks hooks;
    hooks.memory = &account;
    try {
      const UseHooks scope(hooks);
      index.compact();
      enough = true;
    } catch (const MemoryLimitExceeded&) {
      continue;
    }
    CHECK(bytes_of(index) == bytes_of(copied));
    CHECK(index.validate().unreachable == 0);
  }
  CHECK(limit < copied.memory_usage() / 4);
}

TEST_CASE("a multi-vector index goes through functions and is read where it lies") {
  World world;
  std::vector<std::int64_t> expected(kDocs.size() * kK), ids(expected);
  std::vector<float> expected_scores(expected.size()), scores(expected_scores);
  const MultiVectorSearch params{.k = kK, .candidates = 20};
  world.sets.search(kEncodings, kDocs, params, expected.data(), expected_scores.data());

  const auto same = [&](const MultiVectorIndex& index) {
    index.search(kEncodings, kDocs, params, ids.data(), scores.data());
    CHECK(ids == expected);
    CHECK(scores == expected_scores);
    CHECK(bytes_of(index) == world.sets_bytes);
  };
  same(MultiVectorIndex::load(bytes_source(as_bytes(world.sets_bytes))).index);
  const MultiVectorIndex view = MultiVectorIndex::view(as_bytes(world.sets_bytes)).index;
  same(view);
  CHECK(view.mapped());
  CHECK(view.memory_usage() < world.sets.memory_usage());

  const std::string shifted = "x" + world.sets_bytes;
  CHECK_THROWS_AS(MultiVectorIndex::view(as_bytes(shifted).subspan(1)), std::invalid_argument);
  for (std::size_t end = 0; end < world.sets_bytes.size(); end += world.sets_bytes.size() / 20)
    CHECK_THROWS_AS(MultiVectorIndex::view(as_bytes(world.sets_bytes).first(end)), FormatError);
}

TEST_CASE("functions that fail or give too much end saving and loading with an error") {
  World world;
  std::size_t left = 3;
  const ByteSink full = [&](const void*, std::size_t) {
    if (left-- == 0) throw std::runtime_error("full");
  };
  CHECK_THROWS_WITH_AS(world.hnsw.save(full), "full", std::runtime_error);
  left = 3;
  CHECK_THROWS_WITH_AS(world.sets.save(full, {}), "full", std::runtime_error);
  const ByteSource too_much = [](void*, std::size_t size) { return size + 1; };
  CHECK_THROWS_AS(HnswIndex::load(too_much), std::invalid_argument);
  CHECK_THROWS_AS(MultiVectorIndex::load(too_much), std::invalid_argument);
  CHECK_THROWS_AS(CurIndex::load(too_much), std::invalid_argument);
}

TEST_CASE("a file that cannot be written whole is as it was, and no other is left") {
  World world;
  const auto folder = std::filesystem::temp_directory_path() / "whimbrel_test_hook_limits";
  std::filesystem::create_directory(folder);
  const std::string path = (folder / "index.whb").string();
  world.hnsw.save(path);
  Hooks hooks;
  std::size_t asked = 0;
  hooks.stop = [&] { return ++asked == 9; };
  {
    const UseHooks scope(hooks);
    CHECK_THROWS_AS(world.hnsw.save(path), Cancelled);
  }
  CHECK(bytes_of(HnswIndex::load(path)) == world.hnsw_bytes);
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  std::filesystem::remove_all(folder);
}
