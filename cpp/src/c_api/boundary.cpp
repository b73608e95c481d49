#include "c_api/boundary.hpp"

#include <cstdio>
#include <new>
#include <system_error>

#include "whimbrel/cpu_isa.hpp"
#include "whimbrel/errors.hpp"

namespace whimbrel::c_api {
namespace {

// Of fixed size: to say that there is no memory must not need any.
thread_local char message[512] = "";

wb_status fail(wb_status status, const char* what) noexcept {
  std::snprintf(message, sizeof message, "%s", what);
  return status;
}

}  // namespace

wb_status status_of_exception() noexcept {
  try {
    throw;
  } catch (const Cancelled& error) {
    return fail(WB_CANCELLED, error.what());
  } catch (const DeadlineExceeded& error) {
    return fail(WB_DEADLINE_EXCEEDED, error.what());
  } catch (const MemoryLimitExceeded& error) {
    return fail(WB_MEMORY_LIMIT, error.what());
  } catch (const CallbackFailed&) {
    return fail(WB_IO_ERROR, "the callback failed");
  } catch (const DistanceFailed& error) {
    return fail(WB_DISTANCE_FAILED, error.what());
  } catch (const FormatError& error) {
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

Run read_run(const wb_run* options) {
  const wb_run run = read_options("wb_run", options);
  if (run.progress == nullptr) return {run.threads, {}};
  return {run.threads, [progress = run.progress, context = run.context](std::size_t done, std::size_t total) {
            if (progress(context, done, total) != 0) throw Cancelled();
          }};
}

ByteSink read_sink(wb_write write, void* context) {
  if (write == nullptr) throw std::invalid_argument("write: expected a function, got null");
  return [write, context](const void* data, std::size_t size) {
    if (write(context, data, size) != 0) throw CallbackFailed();
  };
}

ByteSource read_source(wb_read read, void* context) {
  if (read == nullptr) throw std::invalid_argument("read: expected a function, got null");
  return [read, context](void* data, std::size_t size) {
    const std::size_t got = read(context, data, size);
    if (got > size) throw CallbackFailed();
    return got;
  };
}

std::size_t product(const char* name, std::size_t a, std::size_t b) {
  if (b != 0 && a > std::numeric_limits<std::size_t>::max() / sizeof(double) / b)
    throw std::invalid_argument(std::string(name) + ": expected a size that fits in memory, got " +
                                std::to_string(a) + " * " + std::to_string(b));
  return a * b;
}

VectorsView read_vectors(const char* name, const wb_matrix& matrix) {
  const std::size_t stride = matrix.stride == 0 ? matrix.cols : matrix.stride;
  if (stride < matrix.cols)
    throw std::invalid_argument(std::string(name) + ".stride: expected at least cols, got " +
                                std::to_string(stride));
  required_array(name, static_cast<const std::byte*>(matrix.data), product(name, matrix.rows, stride));
  const auto view = [&]<class T>(const T* data) {
    return VectorsView(data, matrix.rows, matrix.cols, stride);
  };
  switch (read_vector_type(std::string(name) + ".type", matrix.type)) {
    case VectorType::kInt8:
      return view(static_cast<const std::int8_t*>(matrix.data));
    case VectorType::kUint8:
      return view(static_cast<const std::uint8_t*>(matrix.data));
    case VectorType::kFloat32:
      break;
  }
  return view(static_cast<const float*>(matrix.data));
}

MatrixView<const float> read_matrix(const char* name, const wb_matrix& matrix) {
  const VectorsView vectors = read_vectors(name, matrix);
  if (vectors.type != VectorType::kFloat32)
    throw std::invalid_argument(std::string(name) + ".type: expected WB_FLOAT32, got " +
                                std::to_string(matrix.type));
  return vectors.as<float>();
}

VectorType read_vector_type(const std::string& name, std::uint32_t type) {
  if (type > WB_UINT8)
    throw std::invalid_argument(name + ": expected a wb_vector_type, got " + std::to_string(type));
  return static_cast<VectorType>(type);
}

Metric read_metric(std::uint32_t metric) {
  if (metric > WB_COSINE)
    throw std::invalid_argument("metric: expected a wb_metric, got " + std::to_string(metric));
  return static_cast<Metric>(metric);
}

RaggedView read_ragged(const char* name, const wb_ragged& sets) {
  const auto tokens = read_matrix(name, sets.tokens);
  if (sets.sets == std::numeric_limits<std::size_t>::max()) product(name, sets.sets, 2);
  return {tokens, std::span(&required("offsets", sets.offsets), sets.sets + 1)};
}

void check_results(std::size_t rows, std::size_t k, const std::int64_t* ids, const float* distances) {
  const std::size_t size = product("k", rows, k);
  required_array("ids", ids, size);
  required_array("distances", distances, size);
}

}  // namespace whimbrel::c_api

extern "C" {

const char* wb_error_message(void) { return whimbrel::c_api::message; }
const char* wb_version(void) { return WHIMBREL_VERSION; }

wb_status wb_active_isa(const char** name) {
  return whimbrel::c_api::guarded([&] {
    static const std::string isa = whimbrel::active_isa();
    whimbrel::c_api::required("name", name) = isa.c_str();
  });
}

}  // extern "C"
