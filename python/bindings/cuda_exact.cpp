// Distances of all pairs on a device: of arrays that are there, and of numpy arrays.
#include "cuda_module.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

#include "arrays.hpp"
#include "cuda_arrays.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/cuda/normalize.hpp"
#include "whimbrel/cuda/pairwise_distance.hpp"

namespace whimbrel::python {
namespace {

/// Distances of numpy arrays that are on the device at a time.
constexpr std::size_t kChunkBytes = std::size_t{256} << 20;

void bound_normalize(const MatrixTuple& rows, std::uintptr_t out, int device, std::uintptr_t stream) {
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(
      cuda::launch_normalize(as_device_matrix<float>(rows), as_pointer<float>(out), as_stream(stream)),
      "normalize");
}

void bound_pairwise_distances(const MatrixTuple& data, const MatrixTuple& queries, const std::string& metric,
                              std::uintptr_t distances, int device, std::uintptr_t stream) {
  const Metric kind = metric_from_name(metric);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(cuda::launch_pairwise_distances(as_device_matrix<float>(data), as_device_matrix<float>(queries),
                                              kind, as_pointer<float>(distances), as_stream(stream)),
              "pairwise_distances");
}

/// A copy of host rows on the device, of unit length for cosine.
MatrixView<const float> upload(MatrixView<const float> rows, Metric metric, cuda::DeviceBuffer& buffer,
                               cudaStream_t stream) {
  const std::size_t bytes = rows.rows * rows.cols * sizeof(float);
  buffer = cuda::DeviceBuffer(bytes);
  cuda::check(cudaMemcpyAsync(buffer.data(), rows.data, bytes, cudaMemcpyHostToDevice, stream), "upload");
  const MatrixView<const float> copy(buffer.data<float>(), rows.rows, rows.cols);
  if (metric != Metric::kCosine) return copy;
  cuda::DeviceBuffer normalized(bytes);
  cuda::check(cuda::launch_normalize(copy, normalized.data<float>(), stream), "normalize");
  cuda::check(cudaStreamSynchronize(stream), "normalize");
  std::swap(buffer, normalized);
  return {buffer.data<float>(), rows.rows, rows.cols};
}

Array<float> host_normalize(const Array<float>& rows, int device) {
  const auto view = as_matrix(rows);
  auto out = empty_matrix<float>(view.rows, view.cols);
  float* const to = as_output(out).data();
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  const Stream stream;
  const std::size_t row_bytes = std::max<std::size_t>(1, view.cols) * sizeof(float);
  const std::size_t chunk = std::min(view.rows, std::max<std::size_t>(1, kChunkBytes / row_bytes));
  for (std::size_t i = 0; i < view.rows; i += chunk) {
    const std::size_t n = std::min(chunk, view.rows - i);
    cuda::DeviceBuffer buffer;
    const auto part = upload({view.row(i), n, view.cols}, Metric::kCosine, buffer, stream);
    cuda::check(cudaMemcpyAsync(to + i * view.cols, part.data, n * row_bytes, cudaMemcpyDeviceToHost, stream),
                "download");
    cuda::check(cudaStreamSynchronize(stream), "normalize");
  }
  return out;
}

Array<float> host_pairwise_distances(const Array<float>& data, const Array<float>& queries,
                                     const std::string& metric, int device, const py::object& progress) {
  const auto rows = as_matrix(data), points = as_matrix(queries);
  const Metric kind = metric_from_name(metric);
  const ProgressFn report = make_progress(progress);
  auto distances = empty_matrix<float>(points.rows, rows.rows);
  float* const out = as_output(distances).data();
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  const Stream stream;
  cuda::DeviceBuffer rows_buffer, points_buffer;
  const auto rows_there = upload(rows, kind, rows_buffer, stream);
  const auto points_there = upload(points, kind, points_buffer, stream);
  const std::size_t n = rows.rows, row_bytes = std::max<std::size_t>(1, n) * sizeof(float);
  const std::size_t chunk = std::min(points.rows, std::max<std::size_t>(1, kChunkBytes / row_bytes));
  const cuda::DeviceBuffer chunk_buffer(chunk * row_bytes);
  for (std::size_t q = 0; q < points.rows; q += chunk) {
    report(q, points.rows);
    const std::size_t m = std::min(chunk, points.rows - q);
    const MatrixView<const float> part(points_there.row(q), m, points.cols);
    cuda::check(cuda::launch_pairwise_distances(rows_there, part, kind, chunk_buffer.data<float>(), stream),
                "pairwise_distances");
    cuda::check(cudaMemcpyAsync(out + q * n, chunk_buffer.data(), m * n * sizeof(float),
                                cudaMemcpyDeviceToHost, stream),
                "download");
    cuda::check(cudaStreamSynchronize(stream), "pairwise_distances");
  }
  report(points.rows, points.rows);
  return distances;
}

}  // namespace

void register_cuda_exact(py::module_& m) {
  m.def("normalize", &bound_normalize, py::arg("rows"), py::arg("out"), py::arg("device"), py::arg("stream"),
        "Rows of unit length.");
  m.def("host_normalize", &host_normalize, py::arg("rows").noconvert(), py::arg("device"),
        "Rows of unit length.");
  m.def("pairwise_distances", &bound_pairwise_distances, py::arg("data"), py::arg("queries"),
        py::arg("metric"), py::arg("distances"), py::arg("device"), py::arg("stream"),
        "See whimbrel.pairwise_distances.");
  m.def("host_pairwise_distances", &host_pairwise_distances, py::arg("data").noconvert(),
        py::arg("queries").noconvert(), py::arg("metric"), py::arg("device"), py::arg("progress"),
        "See whimbrel.pairwise_distances.");
}

}  // namespace whimbrel::python
