// The index in C.
#include "whimbrel/hnsw.hpp"

#include <vector>

#include "c_api/boundary.hpp"

using namespace whimbrel::c_api;

struct wb_hnsw {
  whimbrel::HnswIndex index;
};

namespace {

std::span<const std::int64_t> read_ids(const std::int64_t* ids, std::size_t n) {
  return ids == nullptr ? std::span<const std::int64_t>{} : std::span(ids, n);
}

}  // namespace

extern "C" {

wb_status wb_hnsw_create(size_t dim, const wb_hnsw_options* options, wb_hnsw** index) {
  return guarded([&] {
    const wb_hnsw_options given = read_options("wb_hnsw_options", options);
    whimbrel::HnswParams params;
    params.metric = read_metric(given.metric);
    params.M = or_default(given.M, params.M);
    params.ef_construction = or_default(given.ef_construction, params.ef_construction);
    params.ef_search = or_default(given.ef_search, params.ef_search);
    params.seed = given.seed;
    params.batch_growth = or_default(given.batch_growth, params.batch_growth);
    params.keep_pruned = given.discard_pruned == 0;
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex(dim, params)};
  });
}

void wb_hnsw_free(wb_hnsw* index) { delete index; }

wb_status wb_hnsw_add(wb_hnsw* index, wb_matrix vectors, const int64_t* ids, const int64_t* order,
                      const wb_run* run) {
  return guarded([&] {
    const auto rows = read_matrix("vectors", vectors);
    const Run how = read_run(run);
    required("index", index)
        .index.add(rows, {read_ids(ids, rows.rows), read_ids(order, rows.rows), how.threads, how.progress});
  });
}

wb_status wb_hnsw_search(const wb_hnsw* index, wb_matrix queries, size_t k, size_t ef_search,
                         const wb_run* run, int64_t* ids, float* distances) {
  return guarded([&] {
    const auto asked = read_matrix("queries", queries);
    const Run how = read_run(run);
    check_results(asked.rows, k, ids, distances);
    required("index", index).index.search(asked, {k, ef_search, how.threads, how.progress}, ids, distances);
  });
}

wb_status wb_hnsw_remove(wb_hnsw* index, const int64_t* ids, size_t n, const wb_run* run) {
  return guarded([&] {
    const Run how = read_run(run);
    required("index", index).index.remove({required_array("ids", ids, n), n}, {how.threads, how.progress});
  });
}

wb_status wb_hnsw_update(wb_hnsw* index, const int64_t* ids, wb_matrix vectors, const wb_run* run) {
  return guarded([&] {
    const auto rows = read_matrix("vectors", vectors);
    const Run how = read_run(run);
    required("index", index)
        .index.update({required_array("ids", ids, rows.rows), rows.rows}, rows, {how.threads, how.progress});
  });
}

wb_status wb_hnsw_compact(wb_hnsw* index, const wb_run* run) {
  return guarded([&] {
    const Run how = read_run(run);
    required("index", index).index.compact({how.threads, how.progress});
  });
}

wb_status wb_hnsw_refine(wb_hnsw* index, const wb_run* run) {
  return guarded([&] {
    const Run how = read_run(run);
    required("index", index).index.refine({how.threads, how.progress});
  });
}

wb_status wb_hnsw_search_among(const wb_hnsw* index, wb_matrix queries, size_t k, size_t ef_search,
                               const int64_t* allowed, size_t n_allowed, const wb_run* run, int64_t* ids,
                               float* distances) {
  return guarded([&] {
    const auto asked = read_matrix("queries", queries);
    const Run how = read_run(run);
    check_results(asked.rows, k, ids, distances);
    const whimbrel::IdFilter filter({required_array("allowed", allowed, n_allowed), n_allowed});
    const whimbrel::IdFilter* filters[] = {&filter};
    required("index", index)
        .index.search(asked, {k, ef_search, how.threads, how.progress, filters}, ids, distances);
  });
}

wb_status wb_hnsw_size(const wb_hnsw* index, size_t* size) {
  return guarded([&] { required("size", size) = required("index", index).index.size(); });
}

wb_status wb_hnsw_dim(const wb_hnsw* index, size_t* dim) {
  return guarded([&] { required("dim", dim) = required("index", index).index.dim(); });
}

wb_status wb_hnsw_memory_usage(const wb_hnsw* index, size_t* bytes) {
  return guarded([&] { required("bytes", bytes) = required("index", index).index.memory_usage(); });
}

wb_status wb_hnsw_set_ef_search(wb_hnsw* index, uint32_t ef_search) {
  return guarded([&] { required("index", index).index.set_ef_search(ef_search); });
}

wb_status wb_hnsw_ids(const wb_hnsw* index, int64_t* ids) {
  return guarded([&] {
    const std::vector<std::int64_t> all = required("index", index).index.ids();
    std::copy(all.begin(), all.end(), required_array("ids", ids, all.size()));
  });
}

wb_status wb_hnsw_get_vectors(const wb_hnsw* index, const int64_t* ids, size_t n, float* vectors) {
  return guarded([&] {
    const whimbrel::HnswIndex& hnsw = required("index", index).index;
    required_array("ids", ids, product("n", n, hnsw.dim()));
    hnsw.get_vectors({ids, n}, required_array("vectors", vectors, n));
  });
}

wb_status wb_hnsw_save(const wb_hnsw* index, const char* path) {
  return guarded([&] { required("index", index).index.save(&required("path", path)); });
}

wb_status wb_hnsw_load(const char* path, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex::load(std::string(&required("path", path)))};
  });
}

wb_status wb_hnsw_write(const wb_hnsw* index, wb_write write, void* context) {
  return guarded([&] { required("index", index).index.save(read_sink(write, context)); });
}

wb_status wb_hnsw_read(wb_read read, void* context, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex::load(read_source(read, context))};
  });
}

}  // extern "C"
