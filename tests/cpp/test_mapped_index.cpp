// Indexes whose rows stay in a file: whatever its bytes are or become, a search stays in memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "random_values.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/id_filter.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kRows = 1100, kDim = 5, kK = 7;

struct SavedIndex {
  explicit SavedIndex(HnswParams params) : values(::values(kRows * kDim, 1)) {
    params.M = 4;
    params.ef_construction = 20;
    auto index = HnswIndex::build({values.data(), kRows, kDim}, params);
    const std::int64_t gone[] = {5, 6};
    index.remove(gone);
    index.save([&](const void* data, std::size_t size) {
      file.insert(file.end(), static_cast<const std::byte*>(data),
                  static_cast<const std::byte*>(data) + size);
    });
    bytes = AlignedArray<std::byte>(file.size());
    restore();
  }
  void restore() { std::copy(file.begin(), file.end(), bytes.data()); }
  HnswIndex view(bool verify) const {
    return HnswIndex::view({bytes.data(), file.size()}, {.verify = verify});
  }
  struct Section {
    std::string tag;
    std::uint64_t offset, length;
  };
  std::vector<Section> sections() const {
    std::uint32_t n;
    std::memcpy(&n, file.data() + 20, sizeof n);
    std::vector<Section> out{{"head", 0, 64 + 32 * std::uint64_t{n}}};
    for (std::size_t i = 0; i < n; ++i) {
      const std::byte* row = file.data() + 64 + 32 * i;
      Section section{std::string(reinterpret_cast<const char*>(row), 4), 0, 0};
      std::memcpy(&section.offset, row + 8, 16);
      out.push_back(section);
    }
    return out;
  }

  std::vector<float> values;
  std::vector<std::byte> file;
  AlignedArray<std::byte> bytes;
};

/// Everything that reads rows; the distances of a few searches.
std::vector<float> use(const HnswIndex& index, const std::vector<float>& queries) {
  const MatrixView<const float> rows(queries.data(), 3, kDim);
  std::vector<std::int64_t> ids(3 * kK);
  std::vector<float> distances(3 * kK);
  const std::int64_t some[] = {1, 2, 3, 900};
  const IdFilter filter{std::span<const std::int64_t>(some)};
  const IdFilter* filters[] = {&filter};
  index.search(rows, {.k = kK, .filters = filters}, ids.data(), distances.data());
  (void)index.range_search(rows, 0.5f);
  index.search(rows, {.k = kK}, ids.data(), distances.data());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CHECK(!std::isnan(distances[i]));
    CHECK((i % kK == 0 || distances[i - 1] <= distances[i]));
    CHECK(ids[i] < static_cast<std::int64_t>(kRows));
  }
  return distances;
}

std::vector<HnswParams> forms() {
  std::vector<HnswParams> all(4);
  all[1].codec = Codec::kSq8;
  all[2].metric = Metric::kIp;
  all[2].codec = Codec::kF16;
  all[2].rerank = Rerank::kF16;
  all[3].metric = Metric::kCosine;
  return all;
}

bool stays(const std::string& tag) { return tag == "VECS" || tag == "CODE"; }

}  // namespace

TEST_CASE("a mapped index finds what the loaded one does, and takes no changes") {
  for (const HnswParams& params : forms()) {
    const SavedIndex saved(params);
    const auto loaded = HnswIndex::load(bytes_source(saved.file));
    auto mapped = saved.view(true);
    CHECK(use(mapped, saved.values) == use(loaded, saved.values));
    const HnswStats stats = mapped.stats();
    CHECK(stats.borrowed_bytes + mapped.memory_usage() == loaded.memory_usage());
    CHECK(stats.borrowed_bytes >= kRows * 64);
    std::vector<std::byte> again;
    mapped.save([&](const void* data, std::size_t size) {
      again.insert(again.end(), static_cast<const std::byte*>(data),
                   static_cast<const std::byte*>(data) + size);
    });
    CHECK(again == saved.file);

    const std::int64_t id[] = {1};
    const MatrixView<const float> row(saved.values.data(), 1, kDim);
    CHECK_THROWS_AS(mapped.add(row), std::invalid_argument);
    CHECK_THROWS_AS(mapped.remove(id), std::invalid_argument);
    CHECK_THROWS_AS(mapped.update(id, row), std::invalid_argument);
    CHECK_THROWS_AS(mapped.compact(), std::invalid_argument);
    CHECK_THROWS_AS(mapped.refine(), std::invalid_argument);
    CHECK(mapped.tune({.recall = 0.5, .k = 2}).k == 2);
    CHECK(use(mapped, saved.values) == use(loaded, saved.values));
  }
}

TEST_CASE("any flipped bit of a mapped file is found, or leaves an index that can be searched") {
  std::uint64_t bit = 0;
  for (const HnswParams& params : forms()) {
    SavedIndex saved(params);
    for (const SavedIndex::Section& section : saved.sections()) {
      const std::uint64_t step = std::max<std::uint64_t>(1, section.length / 40);
      for (std::uint64_t at = bit % step; at < section.length; at += step, ++bit) {
        std::byte& byte = saved.bytes[section.offset + at];
        byte ^= std::byte{1} << bit % 8;
        CHECK_THROWS_AS(saved.view(true), FormatError);
        if (stays(section.tag)) {
          const auto index = saved.view(false);
          if (bit % 16 == 0) use(index, saved.values);
          if (bit % 16 == 1) CHECK_THROWS_AS(index.save([](const void*, std::size_t) {}), FormatError);
        } else {
          CHECK_THROWS_AS(saved.view(false), FormatError);
        }
        byte ^= std::byte{1} << bit % 8;
      }
    }
  }
}

TEST_CASE("any truncation of a mapped file is found") {
  const SavedIndex saved(forms()[1]);
  for (std::size_t size = 0; size < saved.file.size(); size += size < 1024 ? 1 : 997)
    for (const bool verify : {false, true})
      CHECK_THROWS_AS(HnswIndex::view({saved.bytes.data(), size}, {.verify = verify}), FormatError);
  CHECK_THROWS_AS(HnswIndex::view({saved.bytes.data() + 4, 64}), std::invalid_argument);
}

TEST_CASE("vectors of a mapped file may become anything") {
  for (const HnswParams& params : forms()) {
    SavedIndex saved(params);
    const auto index = saved.view(true);
    for (const int value : {0xff, 0x7f, 0x80, 0})
      for (const SavedIndex::Section& section : saved.sections()) {
        if (!stays(section.tag)) continue;
        std::memset(saved.bytes.data() + section.offset, value, section.length / 2);
        use(index, saved.values);
        std::memset(saved.bytes.data() + section.offset, value, section.length);
        use(index, saved.values);
        const KnnGraph graph = index.knn_graph({.k = 3});
        CHECK(graph.ids.size() == kRows - 2);
        std::vector<float> row(kDim);
        const std::int64_t id[] = {1};
        index.get_vectors(id, row.data());
        saved.restore();
      }
  }
}

}  // namespace whimbrel
