// MaxSim and the multi-vector index in C.
#include "whimbrel/multi_vector_index.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "c_api/boundary.hpp"
#include "whimbrel/maxsim.hpp"

using namespace whimbrel::c_api;

struct wb_multi_vector {
  whimbrel::MultiVectorIndex index;
};

extern "C" {

wb_status wb_maxsim(wb_ragged queries, wb_ragged docs, int normalize, const wb_run* run, float* scores) {
  return guarded([&] {
    const auto asked = read_ragged("queries", queries), documents = read_ragged("docs", docs);
    const Run how = read_run(run);
    required_array("scores", scores, product("scores", asked.size(), documents.size()));
    whimbrel::maxsim_matrix(asked, documents, {normalize != 0, how.threads, how.progress}, scores);
  });
}

wb_status wb_multi_vector_create(size_t dim, size_t encoding_dim, const wb_multi_vector_options* options,
                                 wb_multi_vector** index) {
  return guarded([&] {
    const wb_multi_vector_options given = read_options("wb_multi_vector_options", options);
    if (given.store > WB_TOKENS_INT8)
      throw std::invalid_argument("store: expected a wb_token_type, got " + std::to_string(given.store));
    using whimbrel::TokenType;
    constexpr TokenType kTypes[] = {TokenType::kFloat16, TokenType::kFloat32, TokenType::kInt8};
    whimbrel::MultiVectorParams params;
    params.dim = dim;
    params.encoding_dim = encoding_dim;
    params.store = kTypes[given.store];
    params.graph.M = or_default(given.M, params.graph.M);
    params.graph.ef_construction = or_default(given.ef_construction, params.graph.ef_construction);
    params.graph.seed = given.seed;
    required("index", index);
    *index = new wb_multi_vector{whimbrel::MultiVectorIndex(params)};
  });
}

void wb_multi_vector_free(wb_multi_vector* index) { delete index; }

wb_status wb_multi_vector_add(wb_multi_vector* index, wb_matrix encodings, wb_ragged docs,
                              const wb_run* run) {
  return guarded([&] {
    const auto rows = read_matrix("encodings", encodings);
    const auto documents = read_ragged("docs", docs);
    const Run how = read_run(run);
    required("index", index).index.add(rows, documents, how.threads, how.progress);
  });
}

wb_status wb_multi_vector_search(const wb_multi_vector* index, wb_matrix encodings, wb_ragged queries,
                                 size_t k, size_t candidates, const uint8_t* allowed, size_t n_allowed,
                                 const wb_run* run, int64_t* ids, float* scores) {
  return guarded([&] {
    const auto rows = read_matrix("encodings", encodings);
    const auto asked = read_ragged("queries", queries);
    const Run how = read_run(run);
    check_results(asked.size(), k, ids, scores);
    whimbrel::MultiVectorSearch params;
    params.k = k;
    params.candidates = or_default(candidates, params.candidates);
    if (allowed != nullptr) params.allowed = {allowed, n_allowed};
    params.threads = how.threads;
    params.progress = how.progress;
    required("index", index).index.search(rows, asked, params, ids, scores);
  });
}

wb_status wb_multi_vector_remove(wb_multi_vector* index, const int64_t* ids, size_t n) {
  return guarded([&] {
    product("n", n, 1);
    required("index", index).index.remove({required_array("ids", ids, n), n});
  });
}

wb_status wb_multi_vector_size(const wb_multi_vector* index, size_t* size) {
  return guarded([&] { required("size", size) = required("index", index).index.size(); });
}

wb_status wb_multi_vector_save(const wb_multi_vector* index, const char* path) {
  return guarded([&] { required("index", index).index.save(&required("path", path), {}); });
}

wb_status wb_multi_vector_load(const char* path, int mmap, wb_multi_vector** index) {
  return guarded([&] {
    required("index", index);
    auto loaded = whimbrel::MultiVectorIndex::load(&required("path", path), mmap != 0);
    *index = new wb_multi_vector{std::move(loaded.index)};
  });
}

wb_status wb_multi_vector_write(const wb_multi_vector* index, wb_write write, void* context) {
  return guarded([&] { required("index", index).index.save(read_sink(write, context), {}); });
}

wb_status wb_multi_vector_read(wb_read read, void* context, wb_multi_vector** index) {
  return guarded([&] {
    required("index", index);
    auto loaded = whimbrel::MultiVectorIndex::load(read_source(read, context));
    *index = new wb_multi_vector{std::move(loaded.index)};
  });
}

wb_status wb_multi_vector_view(const void* bytes, size_t size, wb_multi_vector** index) {
  return guarded([&] {
    required("index", index);
    const auto* first = static_cast<const std::byte*>(bytes);
    auto loaded = whimbrel::MultiVectorIndex::view({required_array("bytes", first, size), size});
    *index = new wb_multi_vector{std::move(loaded.index)};
  });
}

}  // extern "C"
