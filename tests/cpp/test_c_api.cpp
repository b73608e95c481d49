// What the C interface makes of bad arguments, failing callbacks and cancellation. That it computes what the
// C++ interface does is one call per function.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/memory.hpp"
#include "whimbrel.h"
#include "whimbrel/exact.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/lid.hpp"

namespace {

constexpr std::size_t kRows = 400, kDim = 8, kK = 5;

std::vector<float> some_values() {
  std::vector<float> values(kRows * kDim);
  std::uint32_t state = 1;
  for (float& x : values) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(state >> 8) * 0x1p-24f;
  }
  return values;
}

struct Index {
  Index() {
    REQUIRE(wb_hnsw_create(kDim, nullptr, &handle) == WB_OK);
    REQUIRE(wb_hnsw_add(handle, matrix, nullptr, nullptr, nullptr) == WB_OK);
  }
  ~Index() { wb_hnsw_free(handle); }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  std::size_t size() const {
    std::size_t size = 0;
    REQUIRE(wb_hnsw_size(handle, &size) == WB_OK);
    return size;
  }

  std::vector<float> values = some_values();
  wb_matrix matrix = {values.data(), kRows, kDim, 0, WB_FLOAT32};
  wb_hnsw* handle = nullptr;
};

int append(void* context, const void* data, std::size_t size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
  return 0;
}

struct Source {
  const std::string* bytes;
  std::size_t end, at = 0;
};

std::size_t take(void* context, void* data, std::size_t size) {
  auto& source = *static_cast<Source*>(context);
  size = std::min(size, source.end - source.at);
  std::memcpy(data, source.bytes->data() + source.at, size);
  source.at += size;
  return size;
}

}  // namespace

TEST_CASE("the C interface computes what the C++ interface does") {
  Index c;
  const whimbrel::MatrixView<const float> rows(c.values.data(), kRows, kDim);
  const auto index = whimbrel::HnswIndex::build(rows, {});
  std::vector<std::int64_t> ids(kRows * kK), expected_ids(ids);
  std::vector<float> distances(ids.size()), expected(ids.size());

  index.search(rows, {.k = kK}, expected_ids.data(), expected.data());
  CHECK(wb_hnsw_search(c.handle, c.matrix, kK, 0, nullptr, ids.data(), distances.data()) == WB_OK);
  CHECK(ids == expected_ids);
  CHECK(distances == expected);

  whimbrel::knn_self(rows, {.k = kK}, expected_ids.data(), expected.data());
  CHECK(wb_knn_self(c.matrix, kK, WB_L2, nullptr, ids.data(), distances.data()) == WB_OK);
  CHECK(ids == expected_ids);

  std::vector<double> lid(kRows), expected_lid(kRows);
  whimbrel::estimate_lid({expected.data(), kRows, kK}, whimbrel::LidEstimator::kMle, expected_lid.data());
  CHECK(wb_estimate_lid({distances.data(), kRows, kK, 0, WB_FLOAT32}, lid.data()) == WB_OK);
  CHECK(lid == expected_lid);

  std::vector<std::int64_t> order(kRows);
  CHECK(wb_order_by_value(lid.data(), kRows, 1, order.data()) == WB_OK);
  CHECK(lid[static_cast<std::size_t>(order[0])] >= lid[static_cast<std::size_t>(order[1])]);

  CHECK(wb_hnsw_ids(c.handle, ids.data()) == WB_OK);
  CHECK(ids[kRows - 1] == kRows - 1);
  std::vector<float> vector(kDim);
  const std::int64_t third = 2, unknown = 12345;
  CHECK(wb_hnsw_get_vectors(c.handle, &third, 1, vector.data()) == WB_OK);
  CHECK(std::equal(vector.begin(), vector.end(), rows.row(2)));
  CHECK(wb_hnsw_get_vectors(c.handle, &unknown, 1, vector.data()) == WB_OUT_OF_RANGE);
}

TEST_CASE("points are removed, replaced and left out through the C interface") {
  Index c;
  const std::int64_t gone[] = {0, 5}, unknown = 12345, third = 2;
  std::int64_t found[3] = {};
  float distances[3] = {};
  const auto row = [&](std::size_t i) {
    return wb_matrix{c.values.data() + i * kDim, 1, kDim, 0, WB_FLOAT32};
  };
  CHECK(wb_hnsw_remove(c.handle, &unknown, 1, nullptr) == WB_OUT_OF_RANGE);
  CHECK(wb_hnsw_remove(c.handle, nullptr, 1, nullptr) == WB_INVALID_ARGUMENT);
  REQUIRE(wb_hnsw_remove(c.handle, gone, 2, nullptr) == WB_OK);
  CHECK(c.size() == kRows - 2);
  REQUIRE(wb_hnsw_search(c.handle, row(5), 1, 0, nullptr, found, distances) == WB_OK);
  CHECK(found[0] != 5);
  CHECK(wb_hnsw_update(c.handle, &third, {nullptr, 1, kDim, 0, WB_FLOAT32}, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_update(c.handle, gone, row(5), nullptr) == WB_OUT_OF_RANGE);
  REQUIRE(wb_hnsw_update(c.handle, &third, row(5), nullptr) == WB_OK);
  REQUIRE(wb_hnsw_compact(c.handle, nullptr) == WB_OK);
  REQUIRE(wb_hnsw_refine(c.handle, nullptr) == WB_OK);
  REQUIRE(wb_hnsw_search(c.handle, row(5), 1, 0, nullptr, found, distances) == WB_OK);
  CHECK(found[0] == 2);
  const std::int64_t allowed[] = {7, 9, unknown};
  REQUIRE(wb_hnsw_search_among(c.handle, row(7), 3, 0, allowed, 3, nullptr, found, distances) == WB_OK);
  CHECK(found[0] == 7);
  CHECK(found[1] == 9);
  CHECK(found[2] == -1);
  CHECK(wb_hnsw_search_among(c.handle, row(7), 1, 0, nullptr, 2, nullptr, found, distances) ==
        WB_INVALID_ARGUMENT);
}

TEST_CASE("null pointers and sizes that overflow are refused with their name") {
  Index c;
  std::int64_t id = 0;
  float distance = 0;
  std::size_t size = 0;
  const auto says = [](const char* name) { return std::string(wb_error_message()).find(name) == 0; };

  CHECK(wb_hnsw_create(kDim, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(says("index: "));
  CHECK(wb_hnsw_size(nullptr, &size) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_size(c.handle, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(says("size: "));
  CHECK(wb_hnsw_add(nullptr, c.matrix, nullptr, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_add(c.handle, {nullptr, 1, kDim, 0, WB_FLOAT32}, nullptr, nullptr, nullptr) ==
        WB_INVALID_ARGUMENT);
  CHECK(says("vectors: "));
  CHECK(wb_hnsw_add(c.handle, {c.values.data(), 1, kDim, kDim - 1, WB_FLOAT32}, nullptr, nullptr, nullptr) ==
        WB_INVALID_ARGUMENT);
  const std::size_t huge = std::numeric_limits<std::size_t>::max();
  CHECK(wb_hnsw_add(c.handle, {c.values.data(), huge, kDim, 0, WB_FLOAT32}, nullptr, nullptr, nullptr) ==
        WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_search(c.handle, c.matrix, huge, 0, nullptr, &id, &distance) == WB_INVALID_ARGUMENT);
  CHECK(says("k: "));
  CHECK(wb_hnsw_search(c.handle, c.matrix, kK, 0, nullptr, nullptr, &distance) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_save(c.handle, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_write(c.handle, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_load("/no/such/file", &c.handle) == WB_IO_ERROR);
  CHECK(wb_knn(c.matrix, c.matrix, 1, static_cast<wb_metric>(3), nullptr, &id, &distance) ==
        WB_INVALID_ARGUMENT);
  wb_hnsw_free(nullptr);
  wb_fde_free(nullptr);
  CHECK(c.size() == kRows);
}

TEST_CASE("options of other versions are read as far as they are known") {
  wb_hnsw* index = nullptr;
  wb_hnsw_options options = {};
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_INVALID_ARGUMENT);  // struct_size forgotten
  CHECK(index == nullptr);

  options.struct_size = offsetof(wb_hnsw_options, seed);  // a program built when there was no seed
  options.M = 1;                                          // read, and out of range
  options.batch_growth = -1;                              // not read
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_INVALID_ARGUMENT);
  options.M = 4;
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_OK);
  wb_hnsw_free(index);
  index = nullptr;

  struct Newer {
    wb_hnsw_options known;
    std::uint64_t more;
  } newer = {};
  newer.known.struct_size = sizeof newer;
  CHECK(wb_hnsw_create(kDim, &newer.known, &index) == WB_OK);
  wb_hnsw_free(index);
  index = nullptr;
  newer.more = 1;
  CHECK(wb_hnsw_create(kDim, &newer.known, &index) == WB_INVALID_ARGUMENT);
  CHECK(index == nullptr);
}

TEST_CASE_TEMPLATE("vectors of bytes and codes through the C interface", T, std::int8_t, std::uint8_t) {
  const std::vector<float> values = some_values();
  std::vector<T> bytes(values.size());
  std::ranges::transform(values, bytes.begin(), [](float x) { return static_cast<T>(100 * x); });
  const std::uint32_t type = std::is_signed_v<T> ? WB_INT8 : WB_UINT8;
  const wb_matrix matrix = {bytes.data(), kRows, kDim, 0, type};
  wb_hnsw_options options = {};
  options.struct_size = sizeof options;
  options.vector_type = type;
  wb_hnsw* index = nullptr;
  REQUIRE(wb_hnsw_create(kDim, &options, &index) == WB_OK);
  REQUIRE(wb_hnsw_add(index, matrix, nullptr, nullptr, nullptr) == WB_OK);

  const std::int64_t id = 7;
  std::vector<T> row(kDim);
  CHECK(wb_hnsw_get_vectors(index, &id, 1, row.data()) == WB_OK);
  CHECK(std::equal(row.begin(), row.end(), bytes.begin() + id * kDim));
  CHECK(wb_hnsw_update(index, &id, {bytes.data(), 1, kDim, 0, type}, nullptr) == WB_OK);

  const wb_matrix query = {bytes.data(), 1, kDim, 0, type};
  std::int64_t ids[2];
  float distances[2];
  CHECK(wb_hnsw_search(index, query, 2, 0, nullptr, ids, distances) == WB_OK);
  CHECK((ids[0] == 0 && ids[1] == id && distances[0] == 0 && distances[1] == 0));
  CHECK(wb_hnsw_search_among(index, query, 1, 0, &id, 1, nullptr, ids, distances) == WB_OK);
  CHECK((ids[0] == id && distances[0] == 0));

  const auto refused = [](wb_status status, const char* name) {
    return status == WB_INVALID_ARGUMENT && std::string(wb_error_message()).find(name) == 0;
  };
  const wb_matrix floats = {values.data(), kRows, kDim, 0, WB_FLOAT32};
  CHECK(refused(wb_hnsw_add(index, floats, nullptr, nullptr, nullptr), "vectors: "));
  CHECK(refused(wb_hnsw_search(index, floats, 1, 0, nullptr, ids, distances), "queries: "));
  CHECK(refused(wb_hnsw_add_over(index, matrix, nullptr, nullptr, nullptr), "vectors.type: "));
  CHECK(refused(wb_knn(matrix, matrix, 1, WB_L2, nullptr, ids, distances), "data.type: "));
  wb_matrix unknown = matrix;
  unknown.type = 3;
  CHECK(refused(wb_hnsw_add(index, unknown, nullptr, nullptr, nullptr), "vectors.type: "));
  wb_hnsw_free(index);
  index = nullptr;
  options.codec = WB_CODEC_SQ8;
  CHECK(refused(wb_hnsw_create(kDim, &options, &index), "codec: "));
  options.vector_type = 3;
  CHECK(refused(wb_hnsw_create(kDim, &options, &index), "vector_type: "));
  CHECK(index == nullptr);
}

TEST_CASE("codecs, and a beam tuned for a recall, through the C interface") {
  wb_hnsw_options options = {};
  options.struct_size = sizeof options;
  options.codec = WB_CODEC_F16;
  options.rerank = WB_RERANK_F16;
  wb_hnsw* index = nullptr;
  REQUIRE(wb_hnsw_create(kDim, &options, &index) == WB_OK);
  const Index c;
  REQUIRE(wb_hnsw_add(index, c.matrix, nullptr, nullptr, nullptr) == WB_OK);
  const std::int64_t id = 1;
  std::vector<float> row(kDim);
  CHECK(wb_hnsw_get_vectors(index, &id, 1, row.data()) == WB_OK);
  for (std::size_t d = 0; d < kDim; ++d) {
    CHECK(row[d] != c.values[kDim + d]);  // rounded
    CHECK(std::abs(row[d] - c.values[kDim + d]) <= 0x1p-12f);
  }

  std::uint32_t ef = 0, found = 0;
  CHECK(wb_hnsw_tuned_ef(index, .9, kK, &ef) == WB_INVALID_ARGUMENT);  // none was
  CHECK(wb_hnsw_tune(index, nullptr, .9, kK, nullptr, &found) == WB_OK);
  CHECK(wb_hnsw_tuned_ef(index, .9, kK, &ef) == WB_OK);
  CHECK((ef == found && ef >= kK));
  CHECK(wb_hnsw_tune(index, &c.matrix, .95, kK, nullptr, nullptr) == WB_OK);
  CHECK(wb_hnsw_tune(index, nullptr, 2, kK, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_tuned_ef(index, .9, kK, nullptr) == WB_INVALID_ARGUMENT);
  wb_hnsw_free(index);

  options.codec = 99;
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_INVALID_ARGUMENT);
  options.codec = WB_CODEC_F32;  // not with float16
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_INVALID_ARGUMENT);
  options.rerank = 99;
  CHECK(wb_hnsw_create(kDim, &options, &index) == WB_INVALID_ARGUMENT);
}

TEST_CASE("a cancelled addition changes nothing, whenever it is cancelled") {
  Index c;
  std::string before;
  REQUIRE(wb_hnsw_write(c.handle, append, &before) == WB_OK);
  struct Countdown {
    int left;
    static int step(void* context, std::size_t, std::size_t) {
      return --static_cast<Countdown*>(context)->left < 0 ? 1 : 0;
    }
  };
  for (int calls = 0;; ++calls) {
    Countdown countdown{calls};
    const wb_run run = {sizeof run, 2, Countdown::step, &countdown};
    if (wb_hnsw_add(c.handle, c.matrix, nullptr, nullptr, &run) == WB_OK) break;
    std::string after;
    REQUIRE(wb_hnsw_write(c.handle, append, &after) == WB_OK);
    CAPTURE(calls);
    REQUIRE(c.size() == kRows);
    REQUIRE(after == before);
  }
  CHECK(c.size() == 2 * kRows);
}

TEST_CASE("an index in a file or in memory is searched where it is") {
  Index c;
  const std::string path = (std::filesystem::temp_directory_path() / "whimbrel_c_map.whb").string();
  REQUIRE(wb_hnsw_save(c.handle, path.c_str()) == WB_OK);
  std::string bytes;
  REQUIRE(wb_hnsw_write(c.handle, append, &bytes) == WB_OK);
  whimbrel::AlignedArray<char> aligned(bytes.size());
  std::copy(bytes.begin(), bytes.end(), aligned.data());
  std::int64_t expected = -1, id = -1;
  float distance = 0;
  const wb_matrix query = {c.values.data(), 1, kDim, 0, WB_FLOAT32};
  CHECK(wb_hnsw_search(c.handle, query, 1, 0, nullptr, &expected, &distance) == WB_OK);
  wb_hnsw *mapped = nullptr, *viewed = nullptr;
  REQUIRE(wb_hnsw_map(path.c_str(), 0, &mapped) == WB_OK);
  REQUIRE(wb_hnsw_view(aligned.data(), bytes.size(), 1, &viewed) == WB_OK);
  for (wb_hnsw* index : {mapped, viewed}) {
    CHECK(wb_hnsw_search(index, query, 1, 0, nullptr, &id, &distance) == WB_OK);
    CHECK(id == expected);
    CHECK(wb_hnsw_remove(index, &id, 1, nullptr) == WB_INVALID_ARGUMENT);
    wb_hnsw_free(index);
  }
  std::filesystem::remove(path);
  CHECK(wb_hnsw_map(path.c_str(), 0, &mapped) == WB_IO_ERROR);
  CHECK(wb_hnsw_map(nullptr, 0, &mapped) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_view(nullptr, 64, 0, &viewed) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_view(aligned.data() + 1, 64, 0, &viewed) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_view(aligned.data(), bytes.size() - 1, 0, &viewed) == WB_FORMAT_ERROR);
}

TEST_CASE("an index is built over the caller's vectors, and saved without them") {
  Index c;
  const std::string path = (std::filesystem::temp_directory_path() / "whimbrel_c_over.whb").string();
  wb_hnsw *over = nullptr, *again = nullptr;
  REQUIRE(wb_hnsw_create(kDim, nullptr, &over) == WB_OK);
  REQUIRE(wb_hnsw_add_over(over, c.matrix, nullptr, nullptr, nullptr) == WB_OK);
  CHECK(wb_hnsw_add(over, c.matrix, nullptr, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  REQUIRE(wb_hnsw_save_links(over, path.c_str()) == WB_OK);
  CHECK(std::filesystem::file_size(path) > kRows * 32 * sizeof(std::uint32_t));
  wb_matrix fewer = c.matrix;
  fewer.rows = 3;
  CHECK(wb_hnsw_load_over(path.c_str(), fewer, 0, &again) == WB_INVALID_ARGUMENT);
  CHECK(wb_hnsw_load(path.c_str(), &again) == WB_FORMAT_ERROR);
  REQUIRE(wb_hnsw_load_over(path.c_str(), c.matrix, 1, &again) == WB_OK);
  std::int64_t expected = -1, id = -2;
  float distance = 0;
  const wb_matrix query = {c.values.data() + kDim, 1, kDim, 0, WB_FLOAT32};
  CHECK(wb_hnsw_search(over, query, 1, 0, nullptr, &expected, &distance) == WB_OK);
  CHECK(wb_hnsw_search(again, query, 1, 0, nullptr, &id, &distance) == WB_OK);
  CHECK(id == expected);
  wb_hnsw_free(over);
  wb_hnsw_free(again);
  std::filesystem::remove(path);
}

TEST_CASE("an index passes through callbacks; cut short or failing ones are errors") {
  Index c;
  std::string bytes;
  REQUIRE(wb_hnsw_write(c.handle, append, &bytes) == WB_OK);
  CHECK(wb_hnsw_write(c.handle, [](void*, const void*, std::size_t) { return 1; }, nullptr) == WB_IO_ERROR);

  wb_hnsw* copy = nullptr;
  for (std::size_t end = 0; end < bytes.size(); end += bytes.size() / 50) {
    Source source{&bytes, end};
    CHECK(wb_hnsw_read(take, &source, &copy) == WB_FORMAT_ERROR);
    CHECK(copy == nullptr);
  }
  const wb_read too_much = [](void*, void*, std::size_t size) { return size + 1; };
  CHECK(wb_hnsw_read(too_much, nullptr, &copy) == WB_IO_ERROR);

  Source source{&bytes, bytes.size()};
  REQUIRE(wb_hnsw_read(take, &source, &copy) == WB_OK);
  std::string again;
  CHECK(wb_hnsw_write(copy, append, &again) == WB_OK);
  CHECK(again == bytes);
  wb_hnsw_free(copy);
}

TEST_CASE("encodings come through the C interface, and bad sets do not") {
  wb_fde_options options = {};
  options.struct_size = sizeof options;
  options.k_sim = 2;
  options.r_reps = 3;
  options.d_proj = 4;
  wb_fde* encoder = nullptr;
  options.projection = 3;
  CHECK(wb_fde_create(kDim, &options, &encoder) == WB_INVALID_ARGUMENT);
  options.projection = WB_FDE_SIGN;
  REQUIRE(wb_fde_create(kDim, &options, &encoder) == WB_OK);
  std::size_t dim_out = 0;
  CHECK(wb_fde_dim_out(encoder, &dim_out) == WB_OK);
  CHECK(dim_out == 3 * 4 * 4);

  const std::vector<float> values = some_values();
  const std::vector<std::int64_t> offsets{0, 7, 7, 20}, falling{0, 9, 7, 20};
  std::vector<float> out(3 * dim_out, -1.0f);
  wb_ragged sets = {{values.data(), 20, kDim, 0, WB_FLOAT32}, offsets.data(), 3};
  CHECK(wb_fde_encode_documents(encoder, sets, nullptr, out.data()) == WB_OK);
  CHECK(out[dim_out] == 0);  // the empty document
  CHECK(wb_fde_encode_queries(encoder, sets, nullptr, nullptr) == WB_INVALID_ARGUMENT);
  sets.offsets = falling.data();
  CHECK(wb_fde_encode_queries(encoder, sets, nullptr, out.data()) == WB_INVALID_ARGUMENT);
  sets.offsets = nullptr;
  CHECK(wb_fde_encode_queries(encoder, sets, nullptr, out.data()) == WB_INVALID_ARGUMENT);
  wb_fde_free(encoder);
}

TEST_CASE("a multi-vector index in C finds documents by their own tokens, and refuses what is none") {
  constexpr std::size_t kDocs = 60, kTokens = 5;
  const std::vector<float> values = some_values();  // 400 tokens
  std::vector<std::int64_t> offsets(kDocs + 1);
  for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int64_t>(i * kTokens);
  const wb_ragged docs = {{values.data(), kDocs * kTokens, kDim, 0, WB_FLOAT32}, offsets.data(), kDocs};

  wb_multi_vector* index = nullptr;
  wb_multi_vector_options options = {};
  options.struct_size = sizeof options;
  options.store = 3;
  CHECK(wb_multi_vector_create(kDim, kDim, &options, &index) == WB_INVALID_ARGUMENT);
  options.store = WB_TOKENS_F32;
  REQUIRE(wb_multi_vector_create(kDim, kDim, &options, &index) == WB_OK);
  // The first token of each document stands for it.
  const wb_matrix encodings = {values.data(), kDocs, kDim, kTokens * kDim, WB_FLOAT32};
  const wb_matrix too_few = {values.data(), kDocs - 1, kDim, kTokens * kDim, WB_FLOAT32};
  CHECK(wb_multi_vector_add(index, too_few, docs, nullptr) == WB_INVALID_ARGUMENT);
  REQUIRE(wb_multi_vector_add(index, encodings, docs, nullptr) == WB_OK);

  std::vector<std::int64_t> ids(kDocs * kK);
  std::vector<float> scores(ids.size()), exact(kDocs * kDocs);
  REQUIRE(wb_maxsim(docs, docs, 0, nullptr, exact.data()) == WB_OK);
  const auto search = [&](const std::uint8_t* allowed, std::size_t n_allowed) {
    return wb_multi_vector_search(index, encodings, docs, kK, kDocs, allowed, n_allowed, nullptr, ids.data(),
                                  scores.data());
  };
  REQUIRE(search(nullptr, 0) == WB_OK);
  for (std::size_t q = 0; q < kDocs; ++q) {
    const float* row = exact.data() + q * kDocs;
    CHECK(scores[q * kK] == *std::max_element(row, row + kDocs));
    CHECK(scores[q * kK] == row[ids[q * kK]]);
  }

  std::vector<std::uint8_t> allowed(kDocs, 1);
  allowed[3] = 0;
  const std::int64_t gone = 7, unknown = kDocs;
  CHECK(wb_multi_vector_remove(index, &unknown, 1) == WB_OUT_OF_RANGE);
  REQUIRE(wb_multi_vector_remove(index, &gone, 1) == WB_OK);
  CHECK(search(allowed.data(), kDocs - 1) == WB_INVALID_ARGUMENT);
  REQUIRE(search(allowed.data(), kDocs) == WB_OK);
  CHECK(std::count(ids.begin(), ids.end(), 3) == 0);
  CHECK(std::count(ids.begin(), ids.end(), gone) == 0);
  std::size_t size = 0;
  CHECK(wb_multi_vector_size(index, &size) == WB_OK);
  CHECK(size == kDocs);
  CHECK(wb_multi_vector_load("/no/such/file", 0, &index) == WB_IO_ERROR);

  std::string bytes;
  wb_multi_vector* copy = nullptr;
  CHECK(wb_multi_vector_write(
            index, [](void*, const void*, std::size_t) { return 1; }, nullptr) == WB_IO_ERROR);
  REQUIRE(wb_multi_vector_write(index, append, &bytes) == WB_OK);
  for (std::size_t end = 0; end < bytes.size(); end += bytes.size() / 20) {
    Source source{&bytes, end};
    CHECK(wb_multi_vector_read(take, &source, &copy) == WB_FORMAT_ERROR);
    CHECK(wb_multi_vector_view(bytes.data(), end, &copy) == WB_FORMAT_ERROR);
  }
  CHECK(wb_multi_vector_view(nullptr, bytes.size(), &copy) == WB_INVALID_ARGUMENT);
  CHECK(wb_multi_vector_view(bytes.data(), bytes.size(), nullptr) == WB_INVALID_ARGUMENT);
  CHECK(wb_multi_vector_view(bytes.data() + 1, bytes.size() - 1, &copy) == WB_INVALID_ARGUMENT);
  CHECK(wb_multi_vector_read(nullptr, nullptr, &copy) == WB_INVALID_ARGUMENT);
  CHECK(copy == nullptr);
  const std::vector<std::int64_t> expected = ids;
  Source source{&bytes, bytes.size()};
  REQUIRE(wb_multi_vector_read(take, &source, &copy) == WB_OK);
  std::swap(index, copy);
  REQUIRE(search(allowed.data(), kDocs) == WB_OK);
  CHECK(ids == expected);
  wb_multi_vector_free(index);
  REQUIRE(wb_multi_vector_view(bytes.data(), bytes.size(), &index) == WB_OK);
  REQUIRE(search(allowed.data(), kDocs) == WB_OK);
  CHECK(ids == expected);
  wb_multi_vector_free(copy);
  wb_multi_vector_free(index);
  wb_multi_vector_free(nullptr);
}
