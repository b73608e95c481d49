// The index as an engine that embeds the library sees it: numbers for documents, an encoder of its own.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "random_sets.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/maxsim.hpp"
#include "whimbrel/multi_vector_index.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 12;
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<std::size_t> lengths(std::size_t n) {
  std::vector<std::size_t> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = i % 11 == 5 ? 0 : 1 + i % 9;  // some have no tokens
  return out;
}

const RandomSets kDocs(lengths(300), kDim, 1);
const RandomSets kQueries({4, 9, 0, 1}, kDim, 2);

FdeEncoder make_encoder() {
  FdeParams params;
  params.dim = kDim;
  params.k_sim = 2;
  params.r_reps = 6;
  params.d_proj = 8;
  return FdeEncoder(params);
}

const FdeEncoder kEncoder = make_encoder();

struct Encodings {
  Encodings(const RaggedView& sets, bool documents) : values(sets.size() * kEncoder.dim_out()) {
    FdeOutput out;
    out.f32 = values.data();
    if (documents)
      kEncoder.encode_documents(sets, {}, out);
    else
      kEncoder.encode_queries(sets, {}, out);
  }
  MatrixView<const float> view() const {
    return {values.data(), values.size() / kEncoder.dim_out(), kEncoder.dim_out()};
  }
  std::vector<float> values;
};

MultiVectorIndex make_index(TokenType store = TokenType::kFloat32) {
  MultiVectorParams params;
  params.dim = kDim;
  params.encoding_dim = kEncoder.dim_out();
  params.store = store;
  params.graph.M = 8;
  params.graph.ef_construction = 40;
  return MultiVectorIndex(params);
}

void add(MultiVectorIndex& index, const RandomSets& docs) {
  index.add(Encodings(docs.view(), true).view(), docs.view());
}

MultiVectorIndex make_full(TokenType store = TokenType::kFloat32) {
  MultiVectorIndex index = make_index(store);
  add(index, kDocs);
  return index;
}

struct Found {
  std::vector<std::int64_t> ids;
  std::vector<float> scores;
  bool operator==(const Found&) const = default;
};

Found search(const MultiVectorIndex& index, const MultiVectorSearch& params) {
  const std::size_t n = kQueries.view().size() * params.k;
  Found found{std::vector<std::int64_t>(n), std::vector<float>(n)};
  index.search(Encodings(kQueries.view(), false).view(), kQueries.view(), params, found.ids.data(),
               found.scores.data());
  return found;
}

/// Sorted by (score, number) over all documents that may be returned.
Found exact(const std::vector<bool>& allowed, std::size_t k) {
  const std::size_t n = kDocs.view().size();
  std::vector<float> scores(kQueries.view().size() * n);
  maxsim_matrix(kQueries.view(), kDocs.view(), {}, scores.data());
  Found found;
  for (std::size_t q = 0; q < kQueries.view().size(); ++q) {
    std::vector<std::pair<float, std::int64_t>> all;
    for (std::size_t d = 0; d < n; ++d)
      if (allowed[d] && kDocs.view()[d].rows > 0 && kQueries.view()[q].rows > 0)
        all.emplace_back(-scores[q * n + d], static_cast<std::int64_t>(d));
    std::sort(all.begin(), all.end());
    all.resize(k, {kInf, -1});
    for (const auto& [score, id] : all) {
      found.ids.push_back(id);
      found.scores.push_back(-score);
    }
  }
  return found;
}

struct TemporaryFile {
  explicit TemporaryFile(const char* name) : path((std::filesystem::temp_directory_path() / name).string()) {}
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

}  // namespace

TEST_CASE("with all documents as candidates a search is exact, for any number of threads") {
  const MultiVectorIndex index = make_full();
  const Found expected = exact(std::vector<bool>(300, true), 15);
  for (const std::size_t threads : {1, 3})
    CHECK(search(index, {.k = 15, .candidates = 300, .threads = threads}) == expected);
}

TEST_CASE("few candidates find much, and what they find has its exact score") {
  const MultiVectorIndex index = make_full();
  const Found all = search(index, {.k = 300, .candidates = 300});
  const Found few = search(index, {.k = 10, .candidates = 60});
  std::size_t hits = 0;
  for (std::size_t q = 0; q < kQueries.view().size(); ++q)
    for (std::size_t i = 0; i < 10; ++i) {
      const std::int64_t id = few.ids[q * 10 + i];
      const auto* row = all.ids.data() + q * 300;
      const auto at = static_cast<std::size_t>(std::find(row, row + 300, id) - row);
      CHECK(at < 300);
      CHECK(few.scores[q * 10 + i] == all.scores[q * 300 + at]);
      hits += id >= 0 && at < 10;
    }
  CHECK(hits >= 13);  // of 30, where chance would give 6: the tokens are random, and one query has none
}

TEST_CASE("removed documents and those that the filter leaves out never return") {
  MultiVectorIndex index = make_full();
  std::vector<bool> allowed(300);
  std::vector<std::uint8_t> filter(300);
  std::vector<std::int64_t> gone;
  for (std::size_t i = 0; i < 300; ++i) {
    filter[i] = i % 3 != 0;
    if (i % 4 == 0) gone.push_back(static_cast<std::int64_t>(i));
    allowed[i] = i % 3 != 0 && i % 4 != 0;
  }
  index.remove(gone);
  index.remove(gone);
  CHECK(index.n_alive() == 225);
  CHECK(search(index, {.k = 5, .candidates = 300, .allowed = filter}) == exact(allowed, 5));
  const Found few = search(index, {.k = 5, .candidates = 20, .allowed = filter});
  for (std::size_t i = 0; i < few.ids.size(); ++i) {
    CHECK((few.ids[i] < 0) == (i / 5 == 2));
    if (few.ids[i] >= 0) CHECK(allowed[static_cast<std::size_t>(few.ids[i])]);
  }
  const std::vector<std::int64_t> unknown{1, 300};
  CHECK_THROWS_AS(index.remove(unknown), std::out_of_range);
  CHECK(index.n_alive() == 225);
}

TEST_CASE("files give the index back, in memory or mapped") {
  const TemporaryFile file("whimbrel_test_multi_vector.whb");
  for (const TokenType store : {TokenType::kFloat32, TokenType::kFloat16, TokenType::kInt8}) {
    MultiVectorIndex index = make_full(store);
    const std::vector<std::int64_t> gone{7, 8};
    index.remove(gone);
    const std::string metadata = "of the caller";
    index.save(file.path, metadata);
    for (const bool mmap : {false, true}) {
      const MultiVectorIndex::Loaded loaded = MultiVectorIndex::load(file.path, mmap);
      CHECK(loaded.metadata == metadata);
      CHECK(loaded.index.mapped() == mmap);
      CHECK(loaded.index.removed() == index.removed());
      for (const std::size_t candidates : {30, 300})
        CHECK(search(loaded.index, {.k = 9, .candidates = candidates}) ==
              search(index, {.k = 9, .candidates = candidates}));
    }
    MultiVectorIndex mapped = MultiVectorIndex::load(file.path, true).index;
    CHECK_THROWS_AS(add(mapped, kDocs), std::invalid_argument);
  }
  std::filesystem::resize_file(file.path, std::filesystem::file_size(file.path) - 64);
  for (const bool mmap : {false, true}) CHECK_THROWS_AS(MultiVectorIndex::load(file.path, mmap), FormatError);
}

TEST_CASE("an addition that stops leaves the index as it was") {
  MultiVectorIndex index = make_full();
  const Found before = search(index, {.k = 300, .candidates = 300});
  struct Stop {};
  const Encodings encodings(kDocs.view(), true);
  CHECK_THROWS_AS(
      index.add(encodings.view(), kDocs.view(), 2, [](std::size_t, std::size_t) { throw Stop(); }), Stop);
  CHECK_THROWS_AS(index.add(Encodings(kQueries.view(), true).view(), kDocs.view()), std::invalid_argument);
  CHECK_THROWS_AS(index.add(encodings.view(), kDocs.view(), 1,
                            [&](std::size_t, std::size_t) { static_cast<void>(index.n_alive()); }),
                  std::logic_error);
  CHECK(index.size() == 300);
  CHECK(index.n_tokens() == kDocs.view().tokens.rows);
  CHECK(search(index, {.k = 300, .candidates = 300}) == before);
  add(index, kDocs);
  CHECK(index.size() == 600);
}

TEST_CASE("searches run beside additions and removals") {
  MultiVectorIndex index = make_full();
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!done) {
        const Found found = search(index, {.k = 5, .candidates = 30, .threads = 1});
        wrong += found.ids[0] < 0 || found.scores[0] < found.scores[1];
      }
    });
  for (std::int64_t i = 0; i < 4; ++i) {
    add(index, kDocs);
    const std::vector<std::int64_t> gone{i, 300 + i};
    index.remove(gone);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
  CHECK(index.n_alive() == 1500 - 8);
}
