// Known answers: results have these bits on every processor and system, and files of this format go on
// loading. The checksums were printed by this test; one that has to change says that results have changed.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/checksum.hpp"
#include "files.hpp"
#include "random_sets.hpp"
#include "random_values.hpp"
#include "whimbrel/cpu_isa.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/maxsim.hpp"

namespace whimbrel {
namespace {

template <class T>
void update(Xxh64& sum, const std::vector<T>& values) {
  sum.update(values.data(), values.size() * sizeof(T));
}

/// Search results, the same for any instruction set: distances are canonical.
template <class Search>
std::uint64_t checksum_of_search(std::size_t entries, const Search& search) {
  std::vector<std::int64_t> ids(entries);
  std::vector<float> distances(entries);
  search(ids.data(), distances.data());
  Xxh64 sum;
  update(sum, ids);
  update(sum, distances);
  return sum.digest();
}

TEST_CASE("exact neighbors have the same bits everywhere") {
  constexpr std::size_t kRows = 500, kQueries = 40, kDim = 37;
  const std::vector<float> data = values(kRows * kDim, 1), queries = values(kQueries * kDim, 2);
  const auto checksum = [&](Metric metric) {
    return checksum_of_search(kQueries * 10, [&](std::int64_t* ids, float* distances) {
      knn({data.data(), kRows, kDim}, {queries.data(), kQueries, kDim}, {.k = 10, .metric = metric}, ids,
          distances);
    });
  };
  INFO("instruction set: ", active_isa());
  CHECK(checksum(Metric::kL2) == 0xd98afd1f251ea040u);
  CHECK(checksum(Metric::kIp) == 0xf081c1215bfa4efdu);
  CHECK(checksum(Metric::kCosine) == 0x7e8faa5d26b2ae35u);
}

TEST_CASE("encodings and scores of sets have the same bits everywhere") {
  constexpr std::size_t kDim = 24;
  const RandomSets documents({5, 0, 17, 40, 1}, kDim, 3), queries({8, 3}, kDim, 4);
  const auto checksum = [&](const FdeParams& params) {
    const FdeEncoder encoder(params);
    std::vector<float> encodings(5 * encoder.dim_out());
    encoder.encode_documents(documents.view(), {}, {.f32 = encodings.data()});
    Xxh64 sum;
    update(sum, encodings);
    return sum.digest();
  };
  INFO("instruction set: ", active_isa());
  CHECK(checksum({.dim = kDim, .projection = FdeProjection::kSign, .center = {}}) == 0xeea730081d7c1ab5u);
  CHECK(checksum({.dim = kDim, .d_final = 200, .fill_mean = true, .center = {}}) == 0xd1da89c13b0227fcu);
  CHECK(checksum({.dim = kDim, .seed = 7, .mode = FdeMode::kGoogle, .center = {}}) == 0x10d235373e414dc2u);

  std::vector<float> scores(2 * 5);
  maxsim_matrix(queries.view(), documents.view(), {}, scores.data());
  Xxh64 sum;
  update(sum, scores);
  CHECK(sum.digest() == 0x43362bc222b47d8bu);
}

TEST_CASE("a graph over whole numbers is the same file everywhere, and is searched alike") {
  constexpr std::size_t kRows = 600, kDim = 12;
  std::vector<float> data;
  for (const float value : values(kRows * kDim, 5))
    data.push_back(static_cast<float>(static_cast<int>(value * 50)));
  const MatrixView<const float> rows{data.data(), kRows, kDim};
  const auto index = HnswIndex::build(rows, {.M = 6, .ef_construction = 40, .seed = 5});
  Xxh64 sum;
  index.save([&](const void* bytes, std::size_t size) { sum.update(bytes, size); });
  INFO("instruction set: ", active_isa());
  CHECK(sum.digest() == 0xad3bf3e83f842ebu);
  CHECK(checksum_of_search(kRows * 5, [&](std::int64_t* ids, float* distances) {
          index.search(rows, {.k = 5, .ef_search = 20}, ids, distances);
        }) == 0x472a736d323cd861u);
}

TEST_CASE("golden files are read, mapped and written again byte by byte") {
  const Directory directory;
  for (const std::string name : {"bytes_v1.whb", "changed_v1.whb", "codes_v1.whb", "hnsw_v1.whb"}) {
    CAPTURE(name);
    const std::string golden = std::string(WHIMBREL_TEST_DATA) + "/" + name;
    REQUIRE(!content(golden).empty());
    HnswIndex::load(golden).save(directory.file(name));
    CHECK(content(directory.file(name)) == content(golden));
    HnswIndex::load(golden, {.mmap = true, .verify = true}).save(directory.file(name));
    CHECK(content(directory.file(name)) == content(golden));
  }
}

}  // namespace
}  // namespace whimbrel
