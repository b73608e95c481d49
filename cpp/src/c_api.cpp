// The C interface: handles around the C++ objects, exceptions to status codes. Nothing is computed here.
#include "whimbrel.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "whimbrel/cpu_isa.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/exact.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/insertion_order.hpp"
#include "whimbrel/lid.hpp"

struct wb_hnsw {
  whimbrel::HnswIndex index;
};

struct wb_fde {
  whimbrel::FdeEncoder encoder;
};

namespace {

using whimbrel::MatrixView;

/// Thrown by a progress function, to be told from the library's own errors.
struct Cancelled {};
/// Thrown by a reading or writing function.
struct CallbackFailed {};

// Of fixed size: to say that there is no memory must not need any.
thread_local char message[512] = "";

wb_status fail(wb_status status, const char* what) noexcept {
  std::snprintf(message, sizeof message, "%s", what);
  return status;
}

template <class Call>
wb_status guarded(const Call& call) noexcept {
  try {
    call();
    return WB_OK;
  } catch (const Cancelled&) {
    return fail(WB_CANCELLED, "cancelled by the progress callback");
  } catch (const CallbackFailed&) {
    return fail(WB_IO_ERROR, "the callback failed");
  } catch (const whimbrel::FormatError& error) {
    return fail(WB_FORMAT_ERROR, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(WB_INVALID_ARGUMENT, error.what());
  } catch (const std::out_of_range& error) {
    return fail(WB_OUT_OF_RANGE, error.what());
  } catch (const std::length_error& error) {
    return fail(WB_TOO_LARGE, error.what());
  } catch (const std::bad_alloc&) {
    return fail(WB_OUT_OF_MEMORY, "out of memory");
  } catch (const std::system_error& error) {
    // A thread that could not be started is no trouble with a file.
    const bool resources = error.code() == std::errc::resource_unavailable_try_again;
    return fail(resources ? WB_INTERNAL_ERROR : WB_IO_ERROR, error.what());
  } catch (const std::exception& error) {
    return fail(WB_INTERNAL_ERROR, error.what());
  } catch (...) {
    return fail(WB_INTERNAL_ERROR, "an unknown exception");
  }
}

template <class T>
T& required(const char* name, T* pointer) {
  if (pointer == nullptr) throw std::invalid_argument(std::string(name) + ": expected a pointer, got null");
  return *pointer;
}

/// Null only where there is nothing to read or write.
template <class T>
T* required_array(const char* name, T* pointer, std::size_t size) {
  if (size > 0) required(name, pointer);
  return pointer;
}

/// A caller's struct may be older (shorter: the rest is zero, which means the defaults) or newer (longer: it
/// must not ask for what is unknown here).
template <class Options>
Options read_options(const char* name, const Options* options) {
  Options known = {};
  if (options == nullptr) return known;
  const std::size_t size = options->struct_size;
  constexpr std::size_t kMost = 4096;
  if (size < sizeof(std::size_t) || size > kMost)
    throw std::invalid_argument(std::string(name) + ".struct_size: expected sizeof(" + name + "), got " +
                                std::to_string(size));
  std::memcpy(&known, options, std::min(size, sizeof known));
  const auto* bytes = reinterpret_cast<const unsigned char*>(options);
  for (std::size_t i = sizeof known; i < size; ++i)
    if (bytes[i] != 0)
      throw std::invalid_argument(std::string(name) + ": expected options of this version, got a newer one");
  return known;
}

struct Run {
  std::size_t threads;
  whimbrel::ProgressFn progress;
};

Run read_run(const wb_run* options) {
  const wb_run run = read_options("wb_run", options);
  if (run.progress == nullptr) return {run.threads, {}};
  return {run.threads, [progress = run.progress, context = run.context](std::size_t done, std::size_t total) {
            if (progress(context, done, total) != 0) throw Cancelled();
          }};
}

std::size_t product(const char* name, std::size_t a, std::size_t b) {
  if (b != 0 && a > std::numeric_limits<std::size_t>::max() / sizeof(double) / b)
    throw std::invalid_argument(std::string(name) + ": expected a size that fits in memory, got " +
                                std::to_string(a) + " * " + std::to_string(b));
  return a * b;
}

MatrixView<const float> read_matrix(const char* name, const wb_matrix& matrix) {
  const std::size_t stride = matrix.stride == 0 ? matrix.cols : matrix.stride;
  if (stride < matrix.cols)
    throw std::invalid_argument(std::string(name) + ".stride: expected at least cols, got " +
                                std::to_string(stride));
  required_array(name, matrix.data, product(name, matrix.rows, stride));
  return {matrix.data, matrix.rows, matrix.cols, stride};
}

whimbrel::Metric read_metric(std::uint32_t metric) {
  if (metric > WB_COSINE)
    throw std::invalid_argument("metric: expected a wb_metric, got " + std::to_string(metric));
  return static_cast<whimbrel::Metric>(metric);
}

std::span<const std::int64_t> read_ids(const std::int64_t* ids, std::size_t n) {
  return ids == nullptr ? std::span<const std::int64_t>{} : std::span(ids, n);
}

void check_results(std::size_t rows, std::size_t k, const std::int64_t* ids, const float* distances) {
  const std::size_t size = product("k", rows, k);
  required_array("ids", ids, size);
  required_array("distances", distances, size);
}

template <class T>
T or_default(T value, T standard) {
  return value == 0 ? standard : value;
}

whimbrel::RaggedView read_ragged(const char* name, const wb_ragged& sets) {
  const auto tokens = read_matrix(name, sets.tokens);
  if (sets.sets == std::numeric_limits<std::size_t>::max()) product(name, sets.sets, 2);
  return {tokens, std::span(&required("offsets", sets.offsets), sets.sets + 1)};
}

wb_status encode(const wb_fde* encoder, const wb_ragged& sets, const wb_run* run, bool documents,
                 float* encodings) noexcept {
  return guarded([&] {
    const whimbrel::FdeEncoder& fde = required("encoder", encoder).encoder;
    const whimbrel::RaggedView view = read_ragged(documents ? "documents" : "queries", sets);
    const Run how = read_run(run);
    const whimbrel::FdeOptions options{how.threads, how.progress};
    const whimbrel::FdeOutput out{
        .f32 = required_array("encodings", encodings, product("encodings", view.size(), fde.dim_out()))};
    documents ? fde.encode_documents(view, options, out) : fde.encode_queries(view, options, out);
  });
}

}  // namespace

extern "C" {

const char* wb_error_message(void) { return message; }
const char* wb_version(void) { return WHIMBREL_VERSION; }

wb_status wb_active_isa(const char** name) {
  return guarded([&] {
    static const std::string isa = whimbrel::active_isa();
    required("name", name) = isa.c_str();
  });
}

wb_status wb_knn(wb_matrix data, wb_matrix queries, size_t k, wb_metric metric, const wb_run* run,
                 int64_t* ids, float* distances) {
  return guarded([&] {
    const auto rows = read_matrix("data", data), asked = read_matrix("queries", queries);
    const Run how = read_run(run);
    check_results(asked.rows, k, ids, distances);
    whimbrel::knn(rows, asked, {k, read_metric(metric), how.threads, how.progress}, ids, distances);
  });
}

wb_status wb_knn_self(wb_matrix data, size_t k, wb_metric metric, const wb_run* run, int64_t* ids,
                      float* distances) {
  return guarded([&] {
    const auto rows = read_matrix("data", data);
    const Run how = read_run(run);
    check_results(rows.rows, k, ids, distances);
    whimbrel::knn_self(rows, {k, read_metric(metric), how.threads, how.progress}, ids, distances);
  });
}

wb_status wb_estimate_lid(wb_matrix distances, double* lid) {
  return guarded([&] {
    const auto rows = read_matrix("distances", distances);
    whimbrel::estimate_lid(rows, whimbrel::LidEstimator::kMle, required_array("lid", lid, rows.rows));
  });
}

wb_status wb_order_by_value(const double* values, size_t n, int descending, int64_t* order) {
  return guarded([&] {
    product("n", n, 1);
    required_array("values", values, n);
    required_array("order", order, n);
    whimbrel::order_by_value({values, n}, descending != 0, {order, n});
  });
}

wb_status wb_random_order(uint64_t seed, size_t n, int64_t* order) {
  return guarded([&] {
    product("n", n, 1);
    whimbrel::random_order(seed, {required_array("order", order, n), n});
  });
}

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
  return guarded([&] {
    if (write == nullptr) throw std::invalid_argument("write: expected a function, got null");
    required("index", index).index.save([&](const void* data, std::size_t size) {
      if (write(context, data, size) != 0) throw CallbackFailed();
    });
  });
}

wb_status wb_hnsw_read(wb_read read, void* context, wb_hnsw** index) {
  return guarded([&] {
    if (read == nullptr) throw std::invalid_argument("read: expected a function, got null");
    required("index", index);
    *index = new wb_hnsw{whimbrel::HnswIndex::load([&](void* data, std::size_t size) {
      const std::size_t got = read(context, data, size);
      if (got > size) throw CallbackFailed();
      return got;
    })};
  });
}

wb_status wb_fde_create(size_t dim, const wb_fde_options* options, wb_fde** encoder) {
  return guarded([&] {
    const wb_fde_options given = read_options("wb_fde_options", options);
    if (given.projection > WB_FDE_IDENTITY)
      throw std::invalid_argument("projection: expected a wb_fde_projection, got " +
                                  std::to_string(given.projection));
    using whimbrel::FdeProjection;
    constexpr FdeProjection kProjections[] = {FdeProjection::kCountSketch, FdeProjection::kSign,
                                              FdeProjection::kIdentity};
    whimbrel::FdeParams params;
    params.dim = dim;
    params.k_sim = given.k_sim == WB_FDE_NO_BITS ? 0 : or_default(given.k_sim, params.k_sim);
    params.r_reps = or_default(given.r_reps, params.r_reps);
    params.projection = kProjections[given.projection];
    params.d_proj = params.projection == FdeProjection::kIdentity
                        ? given.d_proj
                        : or_default(std::size_t{given.d_proj}, params.d_proj);
    params.d_final = given.d_final;
    params.seed = given.seed;
    params.fill_empty = given.leave_empty == 0;
    params.mode = given.google_mode != 0 ? whimbrel::FdeMode::kGoogle : whimbrel::FdeMode::kNative;
    required("encoder", encoder);
    *encoder = new wb_fde{whimbrel::FdeEncoder(params)};
  });
}

void wb_fde_free(wb_fde* encoder) { delete encoder; }

wb_status wb_fde_dim_out(const wb_fde* encoder, size_t* dim_out) {
  return guarded([&] { required("dim_out", dim_out) = required("encoder", encoder).encoder.dim_out(); });
}

wb_status wb_fde_encode_documents(const wb_fde* encoder, wb_ragged documents, const wb_run* run,
                                  float* encodings) {
  return encode(encoder, documents, run, true, encodings);
}

wb_status wb_fde_encode_queries(const wb_fde* encoder, wb_ragged queries, const wb_run* run,
                                float* encodings) {
  return encode(encoder, queries, run, false, encodings);
}

}  // extern "C"
