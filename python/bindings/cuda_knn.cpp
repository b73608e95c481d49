// Exact search in a matrix that stays on a device, and LID estimates from what it finds.
#include "cuda_module.hpp"

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "arrays.hpp"
#include "cuda_arrays.hpp"
#include "names.hpp"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/device_matrix.hpp"
#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/cuda/knn.hpp"
#include "whimbrel/cuda/lid.hpp"

namespace whimbrel::python {
namespace {

using cuda::DeviceMatrix;

cuda::ElementType element_type(const std::string& dtype) {
  if (dtype == "float32") return cuda::ElementType::kF32;
  if (dtype == "float16") return cuda::ElementType::kF16;
  if (dtype == "bfloat16") return cuda::ElementType::kBf16;
  if (dtype == "int8") return cuda::ElementType::kI8;
  throw std::invalid_argument("dtype: expected 'float32', 'float16', 'bfloat16' or 'int8', got '" + dtype +
                              "'");
}

cuda::KnnScope scope_from_name(const std::string& name) {
  if (name == "all") return cuda::KnnScope::kAll;
  if (name == "others") return cuda::KnnScope::kOthers;
  if (name == "earlier") return cuda::KnnScope::kEarlier;
  throw std::invalid_argument("scope: expected 'all', 'others' or 'earlier', got '" + name + "'");
}

cuda::DeviceRows as_rows(const MatrixTuple& matrix, const std::string& dtype) {
  const auto [address, rows, cols, stride] = matrix;
  return {as_pointer<const void>(address), element_type(dtype), rows, cols, stride};
}

cuda::DeviceRows as_host_rows(const py::array& array) {
  const auto rows = static_cast<std::size_t>(array.shape(0)), cols = static_cast<std::size_t>(array.shape(1));
  return {array.data(), element_type(py::str(array.dtype())), rows, cols, cols};
}

cuda::KnnOptions as_options(std::size_t k, bool certified, const std::string& scope, std::size_t first_row) {
  return {k, certified ? cuda::KnnPrecision::kAuto : cuda::KnnPrecision::kFast, scope_from_name(scope),
          first_row};
}

/// A matrix and its device, which is the current one during every call.
struct BoundMatrix {
  DeviceMatrix matrix;
  int device;
};

BoundMatrix borrow(const MatrixTuple& rows, const std::string& dtype, const std::string& metric, int device,
                   std::uintptr_t stream) {
  const cuda::DeviceRows view = as_rows(rows, dtype);
  const Metric kind = metric_from_name(metric);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  return {DeviceMatrix(view, kind, as_stream(stream)), device};
}

BoundMatrix upload(const py::array& rows, const std::string& metric, int device) {
  const cuda::DeviceRows view = as_host_rows(rows);
  const Metric kind = metric_from_name(metric);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  const Stream stream;
  return {DeviceMatrix::upload(view, kind, stream), device};
}

/// As much as is useful, within a limit.
std::size_t workspace_for(const DeviceMatrix& matrix, std::size_t n_queries, const cuda::KnnOptions& options,
                          std::size_t limit) {
  const std::size_t full = knn_workspace_bytes(matrix, n_queries, options);
  return full <= limit ? full : std::max(limit, knn_min_workspace_bytes(matrix, n_queries, options));
}

std::size_t workspace_bytes(const BoundMatrix& self, std::size_t n_queries, std::size_t k, bool certified,
                            const std::string& scope, std::size_t limit) {
  const DeviceGuard guard(self.device);
  return workspace_for(self.matrix, n_queries, as_options(k, certified, scope, 0), limit);
}

/// (address, rows, cols, elements between rows) and dtype of the rows, which live as long as the object.
py::tuple rows_of(const BoundMatrix& self) {
  constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "int8"};
  const cuda::DeviceRows& rows = self.matrix.rows();
  const MatrixTuple view{reinterpret_cast<std::uintptr_t>(rows.data), rows.rows, rows.cols, rows.stride};
  return py::make_tuple(view, kNames[static_cast<std::size_t>(rows.type)]);
}

void bound_knn(const BoundMatrix& self, const MatrixTuple& queries, const std::string& dtype, std::size_t k,
               bool certified, const std::string& scope, std::size_t first_row, std::uintptr_t ids,
               std::uintptr_t distances, std::uintptr_t stats, std::uintptr_t workspace,
               std::size_t workspace_bytes, std::uintptr_t stream) {
  const cuda::DeviceRows points = as_rows(queries, dtype);
  const cuda::KnnOptions options = as_options(k, certified, scope, first_row);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(self.device);
  cuda::check(launch_knn(self.matrix, points, options, as_pointer<std::int64_t>(ids),
                         as_pointer<float>(distances), as_pointer<cuda::KnnStats>(stats),
                         as_pointer<void>(workspace), workspace_bytes, as_stream(stream)),
              "knn");
}

using Stats = std::array<unsigned long long, 4>;
static_assert(sizeof(Stats) == sizeof(cuda::KnnStats));

/// Queries on the device, results in host memory. Returns when it is done.
py::tuple search(const BoundMatrix& self, const cuda::DeviceRows& queries, const cuda::KnnOptions& options,
                 std::size_t workspace_limit, cudaStream_t stream) {
  const std::size_t n_found = queries.rows * options.k;
  auto ids = empty_matrix<std::int64_t>(queries.rows, options.k);
  auto distances = empty_matrix<float>(queries.rows, options.k);
  Stats stats{};
  {
    std::int64_t* const ids_out = as_output(ids).data();
    float* const distances_out = as_output(distances).data();
    const py::gil_scoped_release nogil;
    const std::size_t space = workspace_for(self.matrix, queries.rows, options, workspace_limit);
    const cuda::DeviceBuffer found_ids(n_found * sizeof(std::int64_t)), found(n_found * sizeof(float)),
        counts(sizeof(Stats)), workspace(space);
    cuda::check(launch_knn(self.matrix, queries, options, found_ids.data<std::int64_t>(), found.data<float>(),
                           counts.data<cuda::KnnStats>(), workspace.data(), space, stream),
                "knn");
    cuda::check(cudaMemcpyAsync(ids_out, found_ids.data(), found_ids.bytes(), cudaMemcpyDeviceToHost, stream),
                "download");
    cuda::check(cudaMemcpyAsync(distances_out, found.data(), found.bytes(), cudaMemcpyDeviceToHost, stream),
                "download");
    cuda::check(cudaMemcpyAsync(stats.data(), counts.data(), sizeof(Stats), cudaMemcpyDeviceToHost, stream),
                "download");
    cuda::check(cudaStreamSynchronize(stream), "knn");
  }
  return py::make_tuple(ids, distances, stats);
}

py::tuple host_knn(const BoundMatrix& self, const py::array& queries, std::size_t k, bool certified,
                   const std::string& scope, std::size_t first_row, std::size_t workspace_limit) {
  const cuda::DeviceRows points = as_host_rows(queries);
  const cuda::KnnOptions options = as_options(k, certified, scope, first_row);
  const std::size_t bytes = points.rows * points.cols * cuda::element_bytes(points.type);
  const DeviceGuard guard(self.device);
  const Stream stream;
  const cuda::DeviceBuffer there(bytes);
  cuda::check(cudaMemcpyAsync(there.data(), points.data, bytes, cudaMemcpyHostToDevice, stream), "upload");
  return search(self, {there.data(), points.type, points.rows, points.cols, points.cols}, options,
                workspace_limit, stream);
}

/// Rows [first_row, first_row + n_rows) of the matrix are the queries.
py::tuple host_knn_self(const BoundMatrix& self, std::size_t n_rows, std::size_t k, bool certified,
                        const std::string& scope, std::size_t first_row, std::size_t workspace_limit) {
  if (first_row + n_rows > self.matrix.rows().rows) throw std::invalid_argument("rows: beyond the matrix");
  const DeviceGuard guard(self.device);
  const Stream stream;
  return search(self, self.matrix.rows().slice(first_row, n_rows), as_options(k, certified, scope, first_row),
                workspace_limit, stream);
}

void bound_estimate_lid(const MatrixTuple& distances, bool squared, const std::string& estimator,
                        std::uintptr_t out, int device, std::uintptr_t stream) {
  const LidEstimator kind = estimator_from_name(estimator);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(cuda::launch_lid(as_device_matrix<float>(distances), squared, kind, as_pointer<double>(out),
                               as_stream(stream)),
              "estimate_lid");
}

}  // namespace

void register_cuda_knn(py::module_& m) {
  static_assert(cuda::kMaxK == 1024, "whimbrel/_device_exact.py has the same");
  py::class_<BoundMatrix>(m, "DeviceMatrix", "See whimbrel.cuda.DeviceMatrix.")
      .def(py::init(&borrow), py::arg("rows"), py::arg("dtype"), py::arg("metric"), py::arg("device"),
           py::arg("stream"))
      .def_static("upload", &upload, py::arg("rows"), py::arg("metric"), py::arg("device"))
      .def("rows", &rows_of)
      .def("metric", [](const BoundMatrix& self) { return metric_name(self.matrix.metric()); })
      .def("device", [](const BoundMatrix& self) { return self.device; })
      .def("bytes", [](const BoundMatrix& self) { return self.matrix.bytes(); })
      .def("workspace_bytes", &workspace_bytes, py::arg("n_queries"), py::arg("k"), py::arg("certified"),
           py::arg("scope"), py::arg("limit"))
      .def("knn", &bound_knn, py::arg("queries"), py::arg("dtype"), py::arg("k"), py::arg("certified"),
           py::arg("scope"), py::arg("first_row"), py::arg("ids"), py::arg("distances"), py::arg("stats"),
           py::arg("workspace"), py::arg("workspace_bytes"), py::arg("stream"))
      .def("host_knn", &host_knn, py::arg("queries"), py::arg("k"), py::arg("certified"), py::arg("scope"),
           py::arg("first_row"), py::arg("workspace_limit"))
      .def("host_knn_self", &host_knn_self, py::arg("n_rows"), py::arg("k"), py::arg("certified"),
           py::arg("scope"), py::arg("first_row"), py::arg("workspace_limit"));
  m.def("estimate_lid", &bound_estimate_lid, py::arg("distances"), py::arg("squared"), py::arg("estimator"),
        py::arg("out"), py::arg("device"), py::arg("stream"), "See whimbrel.estimate_lid.");
}

}  // namespace whimbrel::python
