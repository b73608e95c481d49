// An engine's hooks through the C interface: what they do is tested in C++, here that they arrive, and what
// bad ones lead to.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "random_sets.hpp"
#include "whimbrel.h"

namespace {

constexpr std::size_t kRows = 500, kDim = 8, kK = 5;
const whimbrel::RandomSets kSet({kRows}, kDim, 3);
const wb_matrix kMatrix = {kSet.tokens.data(), kRows, kDim, 0, WB_FLOAT32};

/// Hooks of this thread until the end of the test.
struct Use {
  explicit Use(const wb_hooks& hooks) { REQUIRE(wb_use_hooks(&hooks) == WB_OK); }
  ~Use() { CHECK(wb_use_hooks(nullptr) == WB_OK); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
};

wb_hooks no_hooks() {
  wb_hooks hooks = {};
  hooks.struct_size = sizeof hooks;
  return hooks;
}

int append(void* context, const void* data, std::size_t size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
  return 0;
}

wb_status build(wb_hnsw** index) {
  const wb_status created = wb_hnsw_create(kDim, nullptr, index);
  if (created != WB_OK) return created;
  return wb_hnsw_add(*index, kMatrix, nullptr, nullptr, nullptr);
}

std::string bytes_of(const wb_hnsw* index) {
  std::string bytes;
  REQUIRE(wb_hnsw_write(index, append, &bytes) == WB_OK);
  return bytes;
}

/// A thread for every task.
struct Engine {
  std::vector<std::thread> threads;
  std::size_t refused = 0;

  static int submit(void* context, void (*task)(void*), void* argument) {
    auto& engine = *static_cast<Engine*>(context);
    if (engine.threads.size() % 3 == 2 && engine.refused++ % 2 == 0) return 1;
    engine.threads.emplace_back(task, argument);
    return 0;
  }
  ~Engine() {
    for (std::thread& thread : threads) thread.join();
  }
};

}  // namespace

TEST_CASE("an executor in C runs the loops, may refuse, and gives the same bits") {
  wb_hnsw *expected = nullptr, *index = nullptr;
  REQUIRE(build(&expected) == WB_OK);
  Engine engine;
  wb_hooks hooks = no_hooks();
  hooks.submit = Engine::submit;
  hooks.submit_context = &engine;
  hooks.concurrency = 3;
  {
    const Use use(hooks);
    REQUIRE(build(&index) == WB_OK);
  }
  CHECK(!engine.threads.empty());
  CHECK(engine.refused > 0);
  CHECK(bytes_of(index) == bytes_of(expected));
  wb_hnsw_free(index);
  wb_hnsw_free(expected);
}

TEST_CASE("a stop, a timeout and a limit have a status each, and the index is as it was") {
  wb_hnsw* index = nullptr;
  REQUIRE(build(&index) == WB_OK);
  const std::string before = bytes_of(index);
  std::vector<std::int64_t> ids(kRows * kK);
  std::vector<float> distances(ids.size());
  const auto add_and_search = [&](wb_status expected) {
    CHECK(wb_hnsw_add(index, kMatrix, nullptr, nullptr, nullptr) == expected);
    CHECK(wb_hnsw_search(index, kMatrix, kK, 0, nullptr, ids.data(), distances.data()) == expected);
    CHECK(std::string(wb_error_message()).find(": expected ") != std::string::npos);
  };

  wb_hooks hooks = no_hooks();
  {
    std::atomic<int> left{40};
    hooks.stop = [](void* context) { return --*static_cast<std::atomic<int>*>(context) < 0 ? 1 : 0; };
    hooks.stop_context = &left;
    const Use use(hooks);
    add_and_search(WB_CANCELLED);
  }
  CHECK(bytes_of(index) == before);

  hooks = no_hooks();
  hooks.timeout = 1e-9;
  {
    const Use use(hooks);
    add_and_search(WB_DEADLINE_EXCEEDED);
  }
  CHECK(bytes_of(index) == before);

  wb_memory* memory = nullptr;
  REQUIRE(wb_memory_create(1, &memory) == WB_OK);
  hooks = no_hooks();
  hooks.memory = memory;
  {
    const Use use(hooks);
    add_and_search(WB_MEMORY_LIMIT);
  }
  wb_memory_free(memory);
  CHECK(bytes_of(index) == before);
  wb_hnsw_free(index);
}

TEST_CASE("a limit of one byte is an error of every function that makes something") {
  wb_hnsw* index = nullptr;
  wb_multi_vector* sets = nullptr;
  REQUIRE(build(&index) == WB_OK);
  std::vector<std::int64_t> offsets(kRows / 5 + 1), ids(kRows * kK);
  for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int64_t>(5 * i);
  std::vector<float> values(kRows * kRows);
  const wb_ragged docs = {kMatrix, offsets.data(), offsets.size() - 1};
  const wb_matrix encodings = {kMatrix.data, docs.sets, kDim, 0, WB_FLOAT32};
  REQUIRE(wb_multi_vector_create(kDim, kDim, nullptr, &sets) == WB_OK);
  REQUIRE(wb_multi_vector_add(sets, encodings, docs, nullptr) == WB_OK);
  std::string index_bytes = bytes_of(index), sets_bytes;
  REQUIRE(wb_multi_vector_write(sets, append, &sets_bytes) == WB_OK);
  struct Source {
    const std::string* bytes;
    std::size_t at;
    static std::size_t take(void* context, void* data, std::size_t size) {
      auto& source = *static_cast<Source*>(context);
      const std::size_t n = source.bytes->copy(static_cast<char*>(data), size, source.at);
      source.at += n;
      return n;
    }
  };
  Source index_source{&index_bytes, 0}, sets_source{&sets_bytes, 0};

  wb_memory* memory = nullptr;
  REQUIRE(wb_memory_create(1, &memory) == WB_OK);
  wb_hooks hooks = no_hooks();
  hooks.memory = memory;
  wb_hnsw* no_index = nullptr;
  wb_multi_vector* no_sets = nullptr;
  wb_fde* no_encoder = nullptr;
  wb_cur* no_cur = nullptr;
  {
    const Use use(hooks);
    CHECK(wb_knn(kMatrix, kMatrix, kK, WB_L2, nullptr, ids.data(), values.data()) == WB_MEMORY_LIMIT);
    CHECK(wb_knn_self(kMatrix, kK, WB_L2, nullptr, ids.data(), values.data()) == WB_MEMORY_LIMIT);
    CHECK(wb_random_order(1, kRows, ids.data()) == WB_MEMORY_LIMIT);
    CHECK(wb_hnsw_read(Source::take, &index_source, &no_index) == WB_MEMORY_LIMIT);
    CHECK(wb_fde_create(kDim, nullptr, &no_encoder) == WB_MEMORY_LIMIT);
    CHECK(wb_maxsim(docs, docs, 0, nullptr, values.data()) == WB_MEMORY_LIMIT);
    CHECK(wb_multi_vector_add(sets, encodings, docs, nullptr) == WB_MEMORY_LIMIT);
    CHECK(wb_multi_vector_search(sets, encodings, docs, kK, 0, nullptr, 0, nullptr, ids.data(),
                                 values.data()) == WB_MEMORY_LIMIT);
    CHECK(wb_multi_vector_read(Source::take, &sets_source, &no_sets) == WB_MEMORY_LIMIT);
    CHECK(wb_multi_vector_view(sets_bytes.data(), sets_bytes.size(), &no_sets) == WB_MEMORY_LIMIT);
    CHECK(wb_cur_fit(kMatrix, nullptr, nullptr, nullptr, &no_cur) == WB_MEMORY_LIMIT);
  }
  CHECK(no_index == nullptr);
  CHECK(no_sets == nullptr);
  CHECK(no_encoder == nullptr);
  CHECK(no_cur == nullptr);
  std::size_t used = 1;
  CHECK(wb_memory_used(memory, &used) == WB_OK);
  CHECK(used == 0);
  wb_memory_free(memory);
  std::size_t size = 0;
  CHECK(wb_multi_vector_size(sets, &size) == WB_OK);
  CHECK(size == docs.sets);
  wb_hnsw_free(index);
  wb_multi_vector_free(sets);
}

TEST_CASE("memory may be freed before what is counted on it") {
  wb_memory* memory = nullptr;
  REQUIRE(wb_memory_create(std::numeric_limits<std::size_t>::max(), &memory) == WB_OK);
  wb_hooks hooks = no_hooks();
  hooks.memory = memory;
  wb_hnsw* index = nullptr;
  {
    const Use use(hooks);
    REQUIRE(build(&index) == WB_OK);
  }
  std::size_t used = 0, usage = 1;
  CHECK(wb_memory_used(memory, &used) == WB_OK);
  CHECK(wb_hnsw_memory_usage(index, &usage) == WB_OK);
  CHECK(used == usage);
  wb_memory_free(memory);
  REQUIRE(wb_hnsw_add(index, kMatrix, nullptr, nullptr, nullptr) == WB_OK);
  wb_hnsw_free(index);
  wb_memory_free(nullptr);
}

TEST_CASE("a log in C hears a line") {
  std::string text;
  wb_hooks hooks = no_hooks();
  hooks.log = [](void* context, const char* line) { static_cast<std::string*>(context)->append(line); };
  hooks.log_context = &text;
  wb_hnsw* index = nullptr;
  {
    const Use use(hooks);
    REQUIRE(build(&index) == WB_OK);
  }
  CHECK(text.find("hnsw: added 500 rows to 0 in ") == 0);
  wb_hnsw_free(index);
}

TEST_CASE("bad hooks are refused, and those that were there stay") {
  wb_hooks hooks = no_hooks();
  hooks.stop = [](void*) { return 1; };
  const Use use(hooks);
  wb_hooks bad = {};
  CHECK(wb_use_hooks(&bad) == WB_INVALID_ARGUMENT);  // struct_size forgotten
  bad = no_hooks();
  for (const double timeout : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    bad.timeout = timeout;
    CHECK(wb_use_hooks(&bad) == WB_INVALID_ARGUMENT);
    CHECK(std::string(wb_error_message()).find("timeout: ") == 0);
  }
  wb_hnsw* index = nullptr;
  CHECK(build(&index) == WB_CANCELLED);
  wb_hnsw_free(index);
  CHECK(wb_memory_create(1, nullptr) == WB_INVALID_ARGUMENT);
  std::size_t used = 0;
  CHECK(wb_memory_used(nullptr, &used) == WB_INVALID_ARGUMENT);

  wb_hooks longest = no_hooks();
  longest.timeout = 1e300;
  const Use never(longest);
  CHECK(build(&index) == WB_OK);
  wb_hnsw_free(index);
}

TEST_CASE("a callback may call the library, but not change the hooks of the call it comes from") {
  struct Calls {
    wb_status use = WB_OK;
    wb_status order = WB_INTERNAL_ERROR;
    static int step(void* context, std::size_t, std::size_t) {
      auto& calls = *static_cast<Calls*>(context);
      calls.use = wb_use_hooks(nullptr);
      std::int64_t order[3];
      calls.order = wb_random_order(1, 3, order);
      return 0;
    }
  } calls;
  wb_hooks hooks = no_hooks();
  hooks.timeout = 3600;
  hooks.concurrency = 2;
  const Use use(hooks);
  const wb_run run = {sizeof run, 0, Calls::step, &calls};
  wb_hnsw* index = nullptr;
  REQUIRE(wb_hnsw_create(kDim, nullptr, &index) == WB_OK);
  CHECK(wb_hnsw_add(index, kMatrix, nullptr, nullptr, &run) == WB_OK);
  CHECK(calls.use == WB_INVALID_ARGUMENT);
  CHECK(calls.order == WB_OK);
  wb_hnsw_free(index);
}
