// Rerank::kNone in C++: memory that is counted, failures that leave what there was, searches beside changes.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "random_values.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 40;

HnswParams codes_only(Metric metric = Metric::kL2) {
  HnswParams params;
  params.metric = metric;
  params.M = 6;
  params.ef_construction = 30;
  params.codec = Codec::kSq8;
  params.rerank = Rerank::kNone;
  return params;
}

std::string bytes_of(const HnswIndex& index) {
  std::string bytes;
  index.save([&](const void* data, std::size_t size) { bytes.append(static_cast<const char*>(data), size); });
  return bytes;
}

}  // namespace

TEST_CASE("what is counted of an index without vectors is what it uses") {
  const auto rows = values(1300 * kDim, 1);
  MemoryLimit memory(std::size_t{1} << 30);
  Hooks hooks;
  hooks.memory = &memory;
  const UseHooks scope(hooks);
  HnswIndex index = HnswIndex::build({rows.data(), 1200, kDim}, codes_only());
  CHECK(memory.used() < 1200 * kDim * sizeof(float));  // graph and all
  constexpr std::size_t kQuantizer = 1024;             // is not counted
  CHECK(index.memory_usage() >= memory.used());
  CHECK(index.memory_usage() <= memory.used() + kQuantizer);
  index.add({rows.data() + 1200 * kDim, 100, kDim});
  CHECK(index.memory_usage() >= memory.used());
  CHECK(index.memory_usage() <= memory.used() + kQuantizer);
}

TEST_CASE("an addition that is stopped leaves codes as they were, or vectors that are not coded yet") {
  const auto rows = values(2000 * kDim, 2);
  for (const std::size_t first : {1000, 1100}) {  // before and after codes are learned
    HnswIndex index = HnswIndex::build({rows.data(), first, kDim}, codes_only(Metric::kIp));
    CHECK((index.stats().code_dim == 0) == (first == 1000));
    const std::string before = bytes_of(index);
    std::atomic<int> asked = 0;
    for (const int last : {3, 30}) {
      Hooks hooks;
      asked = 0;
      hooks.stop = [&] { return ++asked > last; };
      const UseHooks scope(hooks);
      CHECK_THROWS_AS(index.add({rows.data() + first * kDim, 900, kDim}, {.threads = 2}), Cancelled);
    }
    CHECK((bytes_of(index) == before));
    index.add({rows.data() + first * kDim, 900, kDim}, {.threads = 2});
    CHECK(index.size() == first + 900);
    CHECK(index.stats().code_dim == kDim);
  }
}

TEST_CASE("searches go on while vectors become codes") {
  const auto rows = values(1400 * kDim, 3);
  HnswIndex index = HnswIndex::build({rows.data(), 900, kDim}, codes_only(Metric::kCosine));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (std::size_t i = 900; i < 1400; i += 100)
      index.add({rows.data() + i * kDim, 100, kDim}, {.threads = 2});
    index.remove(std::vector<std::int64_t>{1000, 1001});
    index.compact();
    done = true;
  });
  std::size_t wrong = 0;
  std::vector<std::int64_t> ids(8);
  std::vector<float> distances(8), row(kDim);
  while (!done) {
    index.search({rows.data(), 4, kDim}, {.k = 2, .threads = 2}, ids.data(), distances.data());
    for (std::size_t q = 0; q < 4; ++q) wrong += ids[2 * q] != static_cast<std::int64_t>(q);
    index.get_vectors({ids.data(), 1}, row.data());
  }
  writer.join();
  CHECK(wrong == 0);
  CHECK(index.size() == 1398);
  CHECK(index.validate().unreachable == 0);
}
