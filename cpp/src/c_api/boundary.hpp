// What every function of the C interface does with its arguments and with exceptions.
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "whimbrel.h"
#include "whimbrel/byte_io.hpp"
#include "whimbrel/hooks.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"
#include "whimbrel/progress.hpp"
#include "whimbrel/ragged_view.hpp"
#include "whimbrel/vectors_view.hpp"

namespace whimbrel::c_api {

/// Thrown by a reading or writing function.
struct CallbackFailed {};

/// Thrown by a measuring function.
class DistanceFailed : public std::runtime_error {
 public:
  explicit DistanceFailed(int result)
      : std::runtime_error("distance: expected 0 from its function, got " + std::to_string(result)) {}
};

/// The hooks that this thread has by wb_use_hooks, for one call.
class CallHooks {
 public:
  CallHooks() noexcept;
  ~CallHooks();
  CallHooks(const CallHooks&) = delete;
  CallHooks& operator=(const CallHooks&) = delete;

 private:
  std::optional<UseHooks> use_;
};

/// The status of the exception that is being handled; its message goes to wb_error_message().
wb_status status_of_exception() noexcept;

/// No exception gets past it.
template <class Call>
wb_status guarded(const Call& call) noexcept {
  try {
    const CallHooks hooks;
    call();
    return WB_OK;
  } catch (...) {
    return status_of_exception();
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
  ProgressFn progress;
};

Run read_run(const wb_run* options);

ByteSink read_sink(wb_write write, void* context);
ByteSource read_source(wb_read read, void* context);

/// a * b, if that many doubles can be addressed.
std::size_t product(const char* name, std::size_t a, std::size_t b);

/// Floats only.
MatrixView<const float> read_matrix(const char* name, const wb_matrix& matrix);
VectorsView read_vectors(const char* name, const wb_matrix& matrix);
RaggedView read_ragged(const char* name, const wb_ragged& sets);
Metric read_metric(std::uint32_t metric);
VectorType read_vector_type(const std::string& name, std::uint32_t type);

/// Of (rows, k) results.
void check_results(std::size_t rows, std::size_t k, const std::int64_t* ids, const float* values);

/// Zero stands for the default.
template <class T>
T or_default(T value, T standard) {
  return value == 0 ? standard : value;
}

}  // namespace whimbrel::c_api
