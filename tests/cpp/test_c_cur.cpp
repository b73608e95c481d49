// Search with an expensive scorer through the C interface: that it is the search of C++, and bad arguments.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "random_sets.hpp"
#include "whimbrel.h"
#include "whimbrel/cur_search.hpp"

namespace {

constexpr std::size_t kQueries = 20, kItems = 250, kBudget = 60, kK = 7;
const whimbrel::RandomSets kScores({kQueries + 1}, kItems, 9);
const wb_matrix kAnchors = {kScores.tokens.data(), kQueries, kItems, 0, WB_FLOAT32};

float score(std::int64_t item) { return kScores.view().tokens.row(kQueries)[item]; }

struct Fitted {
  Fitted() { REQUIRE(wb_cur_fit(kAnchors, nullptr, nullptr, nullptr, &index) == WB_OK); }
  ~Fitted() { wb_cur_free(index); }
  Fitted(const Fitted&) = delete;
  Fitted& operator=(const Fitted&) = delete;
  wb_cur* index = nullptr;
};

wb_cur_search_options some_options() {
  wb_cur_search_options options = {};
  options.struct_size = sizeof options;
  options.k = kK;
  options.budget = kBudget;
  options.rounds = 4;
  options.seed = 5;
  return options;
}

int append(void* context, const void* data, std::size_t size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
  return 0;
}

std::string bytes_of(const wb_cur* index) {
  std::string bytes;
  REQUIRE(wb_cur_write(index, append, &bytes) == WB_OK);
  return bytes;
}

}  // namespace

TEST_CASE("a search in C asks for the same items and ends with the same as one in C++") {
  const Fitted fitted;
  const auto anchors = whimbrel::CurIndex::fit({kScores.tokens.data(), kQueries, kItems}, {});
  std::size_t size = 0;
  CHECK(wb_cur_size(fitted.index, &size) == WB_OK);
  CHECK(size == kItems);

  whimbrel::CurSearch expected(anchors, {.k = kK, .budget = kBudget, .rounds = 4, .seed = 5});
  const wb_cur_search_options options = some_options();
  wb_cur_search* search = nullptr;
  REQUIRE(wb_cur_search_create(fitted.index, &options, nullptr, 0, nullptr, &search) == WB_OK);
  const std::int64_t* items = nullptr;
  std::size_t n = 0;
  for (;;) {
    REQUIRE(wb_cur_search_next_items(search, &items, &n) == WB_OK);
    const std::vector<std::int64_t> got(items, items + n);
    CHECK(got == expected.next_items());
    if (n == 0) break;
    std::vector<float> scores(n);
    for (std::size_t i = 0; i < n; ++i) scores[i] = score(got[i]);
    expected.observe(scores);
    CHECK(wb_cur_search_observe(search, scores.data(), n) == WB_OK);
  }
  CHECK(wb_cur_search_calls(search, &n) == WB_OK);
  CHECK(n == kBudget);
  std::vector<std::int64_t> ids(kK), expected_ids;
  std::vector<float> best(kK), expected_best;
  CHECK(wb_cur_search_top_k(search, ids.data(), best.data()) == WB_OK);
  expected.top_k(expected_ids, expected_best);
  CHECK(ids == expected_ids);
  CHECK(best == expected_best);
  wb_cur_search_free(search);
}

TEST_CASE("before anything is scored the results are missing ones, and the start is the caller's") {
  const Fitted fitted;
  const wb_cur_search_options options = some_options();
  const std::int64_t start[] = {17, 3}, unknown = kItems;
  wb_cur_search* search = nullptr;
  CHECK(wb_cur_search_create(fitted.index, &options, &unknown, 1, nullptr, &search) == WB_OUT_OF_RANGE);
  CHECK(wb_cur_search_create(fitted.index, &options, nullptr, 1, nullptr, &search) == WB_INVALID_ARGUMENT);
  CHECK(search == nullptr);
  REQUIRE(wb_cur_search_create(fitted.index, &options, start, 2, nullptr, &search) == WB_OK);
  std::vector<std::int64_t> ids(kK);
  std::vector<float> scores(kK);
  CHECK(wb_cur_search_top_k(search, ids.data(), scores.data()) == WB_OK);
  CHECK(ids == std::vector<std::int64_t>(kK, -1));
  CHECK(std::isinf(scores[0]));
  const std::int64_t* items = nullptr;
  std::size_t n = 0;
  REQUIRE(wb_cur_search_next_items(search, &items, &n) == WB_OK);
  CHECK(n == kBudget / 4);
  CHECK(items[0] == 17);
  CHECK(items[1] == 3);
  wb_cur_search_free(search);
  wb_cur_search_free(nullptr);
}

TEST_CASE("an index with a first stage goes through callbacks, and searches need the stage") {
  wb_cur_options options = {};
  options.struct_size = sizeof options;
  options.storage = WB_CUR_F16;
  wb_cur *index = nullptr, *copy = nullptr;
  REQUIRE(wb_cur_fit(kAnchors, &kAnchors, &options, nullptr, &index) == WB_OK);
  const std::string bytes = bytes_of(index);
  struct Source {
    const std::string* bytes;
    std::size_t end, at;
    static std::size_t take(void* context, void* data, std::size_t size) {
      auto& source = *static_cast<Source*>(context);
      const std::size_t n =
          source.bytes->copy(static_cast<char*>(data), std::min(size, source.end - source.at), source.at);
      source.at += n;
      return n;
    }
  };
  for (std::size_t end = 0; end < bytes.size(); end += bytes.size() / 10) {
    Source cut{&bytes, end, 0};
    CHECK(wb_cur_read(Source::take, &cut, &copy) == WB_FORMAT_ERROR);
  }
  CHECK(copy == nullptr);
  Source source{&bytes, bytes.size(), 0};
  REQUIRE(wb_cur_read(Source::take, &source, &copy) == WB_OK);
  CHECK(bytes_of(copy) == bytes);
  CHECK(wb_cur_write(copy, [](void*, const void*, std::size_t) { return 1; }, nullptr) == WB_IO_ERROR);
  CHECK(wb_cur_read([](void*, void*, std::size_t size) { return size + 1; }, nullptr, &copy) == WB_IO_ERROR);

  wb_cur_search* search = nullptr;
  CHECK(wb_cur_search_create(copy, nullptr, nullptr, 0, nullptr, &search) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_create(copy, nullptr, nullptr, 0, kScores.tokens.data(), &search) == WB_OK);
  wb_cur_search_free(search);
  wb_cur_free(copy);
  wb_cur_free(index);
}

TEST_CASE("bad arguments of a search with a scorer are refused with their name") {
  const Fitted fitted;
  wb_cur* index = nullptr;
  wb_cur_search* search = nullptr;
  const std::int64_t* items = nullptr;
  std::size_t n = 0;
  float value = 0;
  const auto says = [](const char* name) { return std::string(wb_error_message()).find(name) == 0; };
  const std::size_t huge = std::numeric_limits<std::size_t>::max();

  CHECK(wb_cur_fit(kAnchors, nullptr, nullptr, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(says("index: "));
  CHECK(wb_cur_fit({nullptr, 2, 3, 0, WB_FLOAT32}, nullptr, nullptr, nullptr, &index) == WB_INVALID_ARGUMENT);
  CHECK(says("anchor_scores: "));
  CHECK(wb_cur_fit({&value, huge, huge, 0, WB_FLOAT32}, nullptr, nullptr, nullptr, &index) ==
        WB_INVALID_ARGUMENT);
  const wb_matrix none = {nullptr, 0, 0, 0, WB_FLOAT32};
  CHECK(wb_cur_fit(kAnchors, &none, nullptr, nullptr, &index) == WB_INVALID_ARGUMENT);
  CHECK(says("first_stage: "));
  wb_cur_options options = {};
  CHECK(wb_cur_fit(kAnchors, nullptr, &options, nullptr, &index) == WB_INVALID_ARGUMENT);  // no struct_size
  options.struct_size = sizeof options;
  options.storage = 3;
  CHECK(wb_cur_fit(kAnchors, nullptr, &options, nullptr, &index) == WB_INVALID_ARGUMENT);
  CHECK(says("storage: "));
  CHECK(wb_cur_load("/no/such/file", &index) == WB_IO_ERROR);
  CHECK(wb_cur_save(fitted.index, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_size(nullptr, &n) == WB_INVALID_ARGUMENT);
  CHECK(index == nullptr);
  wb_cur_free(nullptr);

  wb_cur_search_options bad = some_options();
  bad.rule = 3;
  CHECK(wb_cur_search_create(fitted.index, &bad, nullptr, 0, nullptr, &search) == WB_INVALID_ARGUMENT);
  CHECK(says("rule: "));
  bad = some_options();
  bad.split = 2;
  CHECK(wb_cur_search_create(fitted.index, &bad, nullptr, 0, nullptr, &search) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_create(nullptr, nullptr, nullptr, 0, nullptr, &search) == WB_INVALID_ARGUMENT);
  CHECK(search == nullptr);

  REQUIRE(wb_cur_search_create(fitted.index, nullptr, nullptr, 0, nullptr, &search) == WB_OK);
  CHECK(wb_cur_search_next_items(search, nullptr, &n) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_next_items(nullptr, &items, &n) == WB_INVALID_ARGUMENT);
  REQUIRE(wb_cur_search_next_items(search, &items, &n) == WB_OK);
  CHECK(wb_cur_search_observe(search, &value, n + 1) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_observe(search, nullptr, n) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_observe(search, &value, huge) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_top_k(search, nullptr, &value) == WB_INVALID_ARGUMENT);
  CHECK(wb_cur_search_calls(search, &n) == WB_OK);
  CHECK(n == 0);
  wb_cur_search_free(search);
}
