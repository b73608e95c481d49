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

whimbrel::Codec read_codec(std::uint32_t codec) {
  switch (codec) {
    case WB_CODEC_F32:
      return whimbrel::Codec::kF32;
    case WB_CODEC_SQ8:
      return whimbrel::Codec::kSq8;
    case WB_CODEC_AUTO:
      return whimbrel::Codec::kAuto;
    case WB_CODEC_SQ4:
      return whimbrel::Codec::kSq4;
    case WB_CODEC_F16:
      return whimbrel::Codec::kF16;
    default:
      throw std::invalid_argument("codec: expected a wb_codec, got " + std::to_string(codec));
  }
}

whimbrel::Rerank read_rerank(std::uint32_t rerank) {
  switch (rerank) {
    case WB_RERANK_F32:
      return whimbrel::Rerank::kF32;
    case WB_RERANK_F16:
      return whimbrel::Rerank::kF16;
    case WB_RERANK_NONE:
      return whimbrel::Rerank::kNone;
    default:
      throw std::invalid_argument("rerank: expected a wb_rerank, got " + std::to_string(rerank));
  }
}

whimbrel::HnswParams read_params(const wb_hnsw_options* options) {
  const wb_hnsw_options given = read_options("wb_hnsw_options", options);
  whimbrel::HnswParams params;
  params.metric = read_metric(given.metric);
  params.M = or_default(given.M, params.M);
  params.ef_construction = or_default(given.ef_construction, params.ef_construction);
  params.ef_search = or_default(given.ef_search, params.ef_search);
  params.seed = given.seed;
  params.batch_growth = or_default(given.batch_growth, params.batch_growth);
  params.keep_pruned = given.discard_pruned == 0;
  params.codec = read_codec(given.codec);
  params.rerank = read_rerank(given.rerank);
  params.vector_type = read_vector_type("vector_type", given.vector_type);
  return params;
}

whimbrel::UserDistance read_distance(const wb_distance* distance) {
  required("distance", distance);
  const wb_distance given = read_options("wb_distance", distance);
  if (given.measure == nullptr)
    throw std::invalid_argument("distance.measure: expected a function, got null");
  return {
      &required("distance.name", given.name),
      [measure = given.measure, context = given.context](
          const float* query, std::size_t dim, const float* const* rows, std::size_t n, float* distances) {
        if (const int result = measure(context, query, dim, rows, n, distances); result != 0)
          throw DistanceFailed(result);
      }};
}

}  // namespace

extern "C" {

wb_status wb_hnsw_create(size_t dim, const wb_hnsw_options* options, wb_hnsw** index) {
  return guarded([&] {
    const whimbrel::HnswParams params = read_params(options);
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex(dim, params)};
  });
}

wb_status wb_hnsw_create_user(size_t dim, const wb_distance* distance, const wb_hnsw_options* options,
                              wb_hnsw** index) {
  return guarded([&] {
    whimbrel::HnswParams params = read_params(options);
    if (params.metric != whimbrel::Metric::kL2)
      throw std::invalid_argument("metric: expected 0 beside a distance, got another wb_metric");
    params.metric = whimbrel::Metric::kUser;
    params.distance = read_distance(distance);
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex(dim, params)};
  });
}

void wb_hnsw_free(wb_hnsw* index) { delete index; }

wb_status wb_hnsw_add(wb_hnsw* index, wb_matrix vectors, const int64_t* ids, const int64_t* order,
                      const wb_run* run) {
  return guarded([&] {
    const auto rows = read_vectors("vectors", vectors);
    const Run how = read_run(run);
    required("index", index)
        .index.add(rows, {read_ids(ids, rows.rows), read_ids(order, rows.rows), how.threads, how.progress});
  });
}

wb_status wb_hnsw_add_over(wb_hnsw* index, wb_matrix vectors, const int64_t* ids, const int64_t* order,
                           const wb_run* run) {
  return guarded([&] {
    const auto rows = read_matrix("vectors", vectors);
    const Run how = read_run(run);
    required("index", index)
        .index.add(rows,
                   {read_ids(ids, rows.rows), read_ids(order, rows.rows), how.threads, how.progress, false});
  });
}

wb_status wb_hnsw_search(const wb_hnsw* index, wb_matrix queries, size_t k, size_t ef_search,
                         const wb_run* run, int64_t* ids, float* distances) {
  return guarded([&] {
    const auto asked = read_vectors("queries", queries);
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
    const auto rows = read_vectors("vectors", vectors);
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
    const auto asked = read_vectors("queries", queries);
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

wb_status wb_hnsw_get_vectors(const wb_hnsw* index, const int64_t* ids, size_t n, void* vectors) {
  return guarded([&] {
    const whimbrel::HnswIndex& hnsw = required("index", index).index;
    required_array("ids", ids, product("n", n, hnsw.dim()));
    required_array("vectors", static_cast<std::byte*>(vectors), n);
    switch (hnsw.params().vector_type) {
      case whimbrel::VectorType::kFloat32:
        return hnsw.get_vectors({ids, n}, static_cast<float*>(vectors));
      case whimbrel::VectorType::kInt8:
        return hnsw.get_vectors({ids, n}, static_cast<std::int8_t*>(vectors));
      case whimbrel::VectorType::kUint8:
        return hnsw.get_vectors({ids, n}, static_cast<std::uint8_t*>(vectors));
    }
  });
}

wb_status wb_hnsw_tune(wb_hnsw* index, const wb_matrix* queries, double recall, size_t k, const wb_run* run,
                       uint32_t* ef_search) {
  return guarded([&] {
    const Run how = read_run(run);
    whimbrel::TuneParams params{.recall = recall, .k = k, .threads = how.threads, .progress = how.progress};
    if (queries != nullptr) params.queries = read_vectors("queries", *queries);
    const whimbrel::TunedEf tuned = required("index", index).index.tune(params);
    if (ef_search != nullptr) *ef_search = tuned.ef_search;
  });
}

wb_status wb_hnsw_tuned_ef(const wb_hnsw* index, double recall, size_t k, uint32_t* ef_search) {
  return guarded(
      [&] { required("ef_search", ef_search) = required("index", index).index.tuned_ef(recall, k); });
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

wb_status wb_hnsw_map(const char* path, int verify, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    const std::string name(&required("path", path));
    *index = new wb_hnsw{whimbrel::HnswIndex::load(name, {.mmap = true, .verify = verify != 0})};
  });
}

wb_status wb_hnsw_view(const void* bytes, size_t size, int verify, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    const auto* first = static_cast<const std::byte*>(bytes);
    required_array("bytes", first, size);
    *index = new wb_hnsw{whimbrel::HnswIndex::view({first, size}, {.verify = verify != 0})};
  });
}

wb_status wb_hnsw_save_links(const wb_hnsw* index, const char* path) {
  return guarded([&] {
    const whimbrel::HnswIndex& saved = required("index", index).index;
    if (saved.params().metric == whimbrel::Metric::kUser)
      throw std::invalid_argument(
          "index: expected a wb_metric, got a distance, which wb_hnsw_load_over lacks");
    saved.save(&required("path", path), {.vectors = false});
  });
}

wb_status wb_hnsw_load_over(const char* path, wb_matrix vectors, int verify, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    const std::string name(&required("path", path));
    const auto rows = read_matrix("vectors", vectors);
    *index = new wb_hnsw{whimbrel::HnswIndex::load(name, {.verify = verify != 0, .vectors = rows})};
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

wb_status wb_hnsw_load_user(const char* path, const wb_distance* distance, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex::load(std::string(&required("path", path)),
                                                   {.distance = read_distance(distance)})};
  });
}

wb_status wb_hnsw_read_user(wb_read read, void* context, const wb_distance* distance, wb_hnsw** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_hnsw{
        whimbrel::HnswIndex::load(read_source(read, context), {.distance = read_distance(distance)})};
  });
}

}  // extern "C"
