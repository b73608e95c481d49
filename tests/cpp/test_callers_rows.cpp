// Indexes over vectors that stay the caller's, and files that leave them out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "random_values.hpp"
#include "whimbrel/byte_io.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kRows = 600, kQueries = 20, kK = 5;

/// A matrix that ends with its last row: nobody may read on.
struct Rows {
  Rows(std::size_t dim, std::size_t stride, Metric metric)
      : stored(values((kRows - 1) * stride + dim, 7)), view(stored.data(), kRows, dim, stride) {
    if (metric != Metric::kCosine) return;
    for (std::size_t i = 0; i < kRows; ++i) {
      float* row = stored.data() + i * stride;
      double square = 0;
      for (std::size_t j = 0; j < dim; ++j) square += static_cast<double>(row[j]) * row[j];
      for (std::size_t j = 0; j < dim; ++j) row[j] = static_cast<float>(row[j] / std::sqrt(square));
    }
  }
  std::vector<float> stored;
  MatrixView<const float> view;
};

struct Found {
  std::vector<std::int64_t> ids = std::vector<std::int64_t>(kQueries * kK);
  std::vector<float> distances = std::vector<float>(kQueries * kK);
  bool operator==(const Found&) const = default;
};

Found search(const HnswIndex& index, const Rows& rows, std::size_t ef = 0) {
  Found found;
  const MatrixView<const float> queries(rows.view.data, kQueries, rows.view.cols, rows.view.stride);
  index.search(queries, {.k = kK, .ef_search = ef, .exact = ef == 0}, found.ids.data(),
               found.distances.data());
  return found;
}

HnswParams params(Metric metric, Codec codec = Codec::kF32) {
  HnswParams p;
  p.metric = metric;
  p.M = 4;
  p.ef_construction = 20;
  p.codec = codec;
  return p;
}

std::string saved(const HnswIndex& index, const SaveOptions& options = {}) {
  std::string file;
  index.save([&](const void* data, std::size_t size) { file.append(static_cast<const char*>(data), size); },
             options);
  return file;
}

HnswIndex loaded(const std::string& file, const LoadOptions& options = {}) {
  return HnswIndex::load(bytes_source(std::as_bytes(std::span(file))), options);
}

}  // namespace

TEST_CASE("an index over the caller's rows finds what one with a copy does, at any width") {
  for (const Metric metric : {Metric::kL2, Metric::kIp, Metric::kCosine})
    for (const std::size_t dim : {1, 3, 8, 15, 16, 17, 31, 33, 64, 130})
      for (const std::size_t more : {0, 3}) {
        CAPTURE(dim);
        const Rows rows(dim, dim + more, metric);
        const auto copy = HnswIndex::build(rows.view, params(metric));
        const auto over = HnswIndex::build(rows.view, params(metric), {.copy = false});
        // Bits of cosine depend on who normalized the rows.
        if (metric != Metric::kCosine) CHECK(search(over, rows) == search(copy, rows));
        const Found near = search(over, rows, 600), exact = search(over, rows);
        CHECK(near.distances == exact.distances);
        CHECK(over.validate().unreachable == 0);
        std::vector<float> row(dim);
        const std::int64_t id[] = {kRows - 1};
        over.get_vectors(id, row.data());
        CHECK(std::equal(row.begin(), row.end(), rows.view.row(kRows - 1)));
        CHECK(over.memory_usage() < copy.memory_usage());
        CHECK(over.stats().borrowed_bytes == kRows * (dim + more) * sizeof(float));
        if (dim % 16 == 0 && metric != Metric::kCosine) CHECK(saved(over) == saved(copy));
        CHECK(search(loaded(saved(over)), rows) == exact);
      }
}

TEST_CASE("an index over the caller's rows takes no changes") {
  const Rows rows(8, 8, Metric::kL2);
  auto index = HnswIndex::build(rows.view, params(Metric::kL2), {.copy = false});
  const Found before = search(index, rows, 30);
  const std::int64_t id[] = {1};
  const MatrixView<const float> row(rows.view.data, 1, 8);
  CHECK_THROWS_AS(index.add(row), std::invalid_argument);
  CHECK_THROWS_AS(index.add(row, {.copy = false}), std::invalid_argument);
  CHECK_THROWS_AS(index.remove(id), std::invalid_argument);
  CHECK_THROWS_AS(index.update(id, row), std::invalid_argument);
  CHECK_THROWS_AS(index.compact(), std::invalid_argument);
  CHECK_THROWS_AS(index.refine(), std::invalid_argument);
  CHECK(search(index, rows, 30) == before);
}

TEST_CASE("rows that an index cannot use as they are are refused, and leave it empty") {
  const Rows rows(8, 8, Metric::kL2);
  CHECK_THROWS_AS(HnswIndex::build(rows.view, params(Metric::kCosine), {.copy = false}),
                  std::invalid_argument);
  HnswParams halves = params(Metric::kL2, Codec::kF16);
  halves.rerank = Rerank::kF16;
  CHECK_THROWS_AS(HnswIndex::build(rows.view, halves, {.copy = false}), std::invalid_argument);
  HnswIndex index(8, params(Metric::kL2));
  AddOptions options;
  options.copy = false;
  options.progress = [](std::size_t, std::size_t) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH(index.add(rows.view, options), "enough");
  CHECK(index.size() == 0);
  index.add(rows.view);  // a copy, as if nothing had been
  CHECK(index.stats().borrowed_bytes == 0);
  CHECK_THROWS_AS(index.add(rows.view, {.copy = false}), std::invalid_argument);
  CHECK(index.size() == kRows);
}

TEST_CASE("codes and exact candidates work over the caller's rows too") {
  const std::vector<float> data = values(1100 * 20, 3);
  const MatrixView<const float> rows(data.data(), 1100, 20);
  const auto copy = HnswIndex::build(rows, params(Metric::kL2, Codec::kSq8));
  const auto over = HnswIndex::build(rows, params(Metric::kL2, Codec::kSq8), {.copy = false});
  CHECK(saved(over) == saved(copy));  // integers choose the links
  const auto link = link_nearest(knn_earlier);
  CHECK(saved(HnswIndex::bulk_build(rows, params(Metric::kIp), {.copy = false}, link)) ==
        saved(HnswIndex::bulk_build(rows, params(Metric::kIp), {}, link)));
}

TEST_CASE("an index over the caller's rows is counted without them") {
  const std::size_t n = 1000, dim = 512;
  const std::vector<float> data = values(n * dim, 3);
  const MatrixView<const float> rows(data.data(), n, dim);
  MemoryLimit memory(std::size_t{1} << 30);
  Hooks hooks;
  hooks.memory = &memory;
  const UseHooks scope(hooks);
  const auto over = HnswIndex::build(rows, params(Metric::kL2), {.copy = false});
  CHECK(memory.used() < n * dim * sizeof(float) / 10);
  CHECK(memory.used() == over.memory_usage());
}

TEST_CASE("the caller's rows may become anything") {
  for (const Codec codec : {Codec::kF32, Codec::kSq8}) {
    std::vector<float> data = values(1100 * 20, 3);
    const auto index = HnswIndex::build({data.data(), 1100, 20}, params(Metric::kIp, codec), {.copy = false});
    const std::vector<float> queries(data.begin(), data.begin() + 60);
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
          std::numeric_limits<float>::infinity(), 3e38f}) {
      std::fill(data.begin(), data.begin() + 11000, value);
      std::vector<std::int64_t> ids(3 * kK);
      std::vector<float> distances(3 * kK);
      for (const bool exact : {false, true}) {
        index.search({queries.data(), 3, 20}, {.k = kK, .exact = exact}, ids.data(), distances.data());
        for (std::size_t i = 0; i < ids.size(); ++i) {
          CHECK(!std::isnan(distances[i]));
          CHECK((i % kK == 0 || distances[i - 1] <= distances[i]));
        }
      }
      CHECK(index.knn_graph({.k = 2}).ids.size() == 1100);
      if (!std::isfinite(value)) CHECK_THROWS_AS(saved(index), std::invalid_argument);
    }
  }
}

TEST_CASE("a row that became NaN is not in the way of a search, wherever it leads") {
  Rows rows(24, 24, Metric::kCosine);
  const auto index = HnswIndex::build(rows.view, params(Metric::kCosine), {.copy = false});
  for (std::size_t bad = 0; bad < kRows; ++bad) {  // the entry point and those of the upper levels among them
    float* row = rows.stored.data() + bad * 24;
    const std::vector<float> good(row, row + 24);
    std::fill(row, row + 24, std::numeric_limits<float>::quiet_NaN());
    const auto other = static_cast<std::int64_t>(bad == 0);
    std::int64_t id = -1;
    float distance = 0;
    index.search({rows.view.row(static_cast<std::size_t>(other)), 1, 24}, {.k = 1, .ef_search = 50}, &id,
                 &distance);
    CHECK(id == other);
    std::copy(good.begin(), good.end(), row);
  }
}

TEST_CASE("an index over no rows may still get some") {
  HnswIndex index(24, params(Metric::kL2));
  index.add(MatrixView<const float>(nullptr, 0, 24), {.copy = false});
  const Rows rows(24, 24, Metric::kL2);
  index.add(rows.view);
  CHECK(index.size() == kRows);
}

TEST_CASE("hnswlib gets no rows that are not finite any more, and no codes") {
  Rows rows(24, 24, Metric::kL2);
  const auto index = HnswIndex::build(rows.view, params(Metric::kL2), {.copy = false});
  rows.stored[5 * 24 + 3] = std::numeric_limits<float>::infinity();
  const ByteSink ignore = [](const void*, std::size_t) {};
  CHECK_THROWS_AS(index.to_hnswlib(ignore), std::invalid_argument);
  HnswParams codes = params(Metric::kL2, Codec::kSq8);
  codes.rerank = Rerank::kNone;
  const std::vector<float> data = values(1100 * 20, 3);
  const auto coded = HnswIndex::build({data.data(), 1100, 20}, codes);
  CHECK_THROWS_AS(coded.to_hnswlib(ignore), std::invalid_argument);
}

TEST_CASE("no search is for more than an index may hold") {
  const Rows rows(24, 24, Metric::kL2);
  auto index = HnswIndex::build(rows.view, params(Metric::kL2));
  for (const std::size_t k : {std::size_t{0}, std::size_t{1} << 31, ~std::size_t{0}}) {
    CHECK_THROWS_AS(index.search(rows.view, {.k = k}, nullptr, nullptr), std::invalid_argument);
    CHECK_THROWS_AS(index.knn_graph({.k = k}), std::invalid_argument);
    CHECK_THROWS_AS(index.tune({.k = k}), std::invalid_argument);
  }
}

TEST_CASE("a file without vectors gets them from the caller") {
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    const Rows rows(130, 133, metric);
    const auto over = HnswIndex::build(rows.view, params(metric), {.copy = false});
    const std::string file = saved(over, {.vectors = false});
    CHECK(file.size() < saved(over).size() / 4);
    for (const bool verify : {false, true}) {
      const auto again = loaded(file, {.verify = verify, .vectors = rows.view});
      CHECK(search(again, rows, 30) == search(over, rows, 30));
      CHECK(saved(again) == saved(over));
    }
    CHECK_THROWS_AS(loaded(file), FormatError);
    CHECK_THROWS_AS(loaded(saved(over), {.vectors = rows.view}), std::invalid_argument);
    CHECK_THROWS_AS(
        loaded(file, {.vectors = MatrixView<const float>(rows.stored.data(), kRows - 1, 130, 133)}),
        std::invalid_argument);
    Rows others = rows;
    others.view.data = others.stored.data();
    others.stored[133] += 1;  // row 1 is not of the sample
    CHECK(search(loaded(file, {.vectors = others.view}), rows, 30).ids.size() == kQueries * kK);
    CHECK_THROWS_AS(loaded(file, {.verify = true, .vectors = others.view}), std::invalid_argument);
    others.stored[0] += 1;  // row 0 is
    CHECK_THROWS_AS(loaded(file, {.vectors = others.view}), std::invalid_argument);
    for (std::size_t at = 0; at < file.size(); at += 41) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ 16);
      CHECK_THROWS_AS(loaded(damaged, {.vectors = rows.view}), FormatError);
    }
  }
}

TEST_CASE("an index with a copy is saved without it too, if nothing was removed") {
  std::vector<float> data = values(kRows * 128, 5);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] *= i % 128 < 40 ? 0.01f : 1.0f;
  Rows rows(128, 128, Metric::kL2);
  rows.stored = data;
  rows.view.data = rows.stored.data();
  auto index = HnswIndex::build(rows.view, params(Metric::kL2));
  const auto again = loaded(saved(index, {.vectors = false}), {.vectors = rows.view});
  CHECK(search(again, rows, 600).distances == search(index, rows, 600).distances);
  const std::int64_t gone[] = {3};
  index.remove(gone);
  CHECK_THROWS_AS(saved(index, {.vectors = false}), std::invalid_argument);
}

}  // namespace whimbrel
