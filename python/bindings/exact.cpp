// knn, knn_self and pairwise_distances.
#include "module.hpp"

#include "arrays.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/exact.hpp"

namespace whimbrel::python {
namespace {

py::tuple bound_knn(const Array<float>& data, const Array<float>& queries, std::size_t k,
                    const std::string& metric, std::size_t threads, const py::object& progress) {
  const auto rows = as_matrix(data), points = as_matrix(queries);
  const KnnParams params{k, metric_from_name(metric), threads, make_progress(progress)};
  auto ids = empty_matrix<std::int64_t>(points.rows, k);
  auto distances = empty_matrix<float>(points.rows, k);
  {
    const auto ids_out = as_output(ids);
    const auto distances_out = as_output(distances);
    const py::gil_scoped_release nogil;
    knn(rows, points, params, ids_out.data(), distances_out.data());
  }
  return py::make_tuple(ids, distances);
}

py::tuple bound_knn_self(const Array<float>& data, std::size_t k, const std::string& metric,
                         std::size_t threads, const py::object& progress) {
  const auto rows = as_matrix(data);
  const KnnParams params{k, metric_from_name(metric), threads, make_progress(progress)};
  auto ids = empty_matrix<std::int64_t>(rows.rows, k);
  auto distances = empty_matrix<float>(rows.rows, k);
  {
    const auto ids_out = as_output(ids);
    const auto distances_out = as_output(distances);
    const py::gil_scoped_release nogil;
    knn_self(rows, params, ids_out.data(), distances_out.data());
  }
  return py::make_tuple(ids, distances);
}

Array<float> bound_pairwise_distances(const Array<float>& data, const Array<float>& queries,
                                      const std::string& metric, std::size_t threads,
                                      const py::object& progress) {
  const auto rows = as_matrix(data), points = as_matrix(queries);
  const Metric kind = metric_from_name(metric);
  const ProgressFn report = make_progress(progress);
  auto distances = empty_matrix<float>(points.rows, rows.rows);
  {
    const auto out = as_output(distances);
    const py::gil_scoped_release nogil;
    pairwise_distances(rows, points, kind, threads, report, out.data());
  }
  return distances;
}

}  // namespace

void register_exact(py::module_& m) {
  m.def("knn", &bound_knn, py::arg("data").noconvert(), py::arg("queries").noconvert(), py::arg("k"),
        py::arg("metric"), py::arg("threads"), py::arg("progress"), "See whimbrel.knn.");
  m.def("knn_self", &bound_knn_self, py::arg("data").noconvert(), py::arg("k"), py::arg("metric"),
        py::arg("threads"), py::arg("progress"), "See whimbrel.knn.");
  m.def("pairwise_distances", &bound_pairwise_distances, py::arg("data").noconvert(),
        py::arg("queries").noconvert(), py::arg("metric"), py::arg("threads"), py::arg("progress"),
        "See whimbrel.pairwise_distances.");
}

}  // namespace whimbrel::python
