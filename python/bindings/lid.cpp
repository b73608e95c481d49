// LID estimates and insertion orders.
#include "module.hpp"

#include "arrays.hpp"
#include "names.hpp"
#include "whimbrel/insertion_order.hpp"
#include "whimbrel/lid.hpp"

namespace whimbrel::python {
namespace {

Array<double> bound_estimate_lid(const Array<float>& distances, const std::string& estimator) {
  const auto rows = as_matrix(distances);
  const LidEstimator kind = estimator_from_name(estimator);
  auto out = empty_vector<double>(rows.rows);
  const auto values = as_output(out);
  const py::gil_scoped_release nogil;
  estimate_lid(rows, kind, values.data());
  return out;
}

Array<double> bound_distance_to_mean(const Array<float>& data, std::size_t threads) {
  const auto rows = as_matrix(data);
  auto out = empty_vector<double>(rows.rows);
  const auto values = as_output(out);
  const py::gil_scoped_release nogil;
  distance_to_mean(rows, threads, values);
  return out;
}

/// Call `fill(order)` without the GIL and return the order.
template <class Fill>
Array<std::int64_t> make_order(std::size_t size, const Fill& fill) {
  auto out = empty_vector<std::int64_t>(size);
  const auto order = as_output(out);
  const py::gil_scoped_release nogil;
  fill(order);
  return out;
}

Array<std::int64_t> bound_order_by_value(const Array<double>& values, bool descending) {
  const auto keys = as_vector(values);
  return make_order(keys.size(),
                    [&](std::span<std::int64_t> order) { order_by_value(keys, descending, order); });
}

Array<std::int64_t> bound_order_by_category(const Array<std::int64_t>& labels, std::uint64_t seed) {
  const auto keys = as_vector(labels);
  return make_order(keys.size(),
                    [&](std::span<std::int64_t> order) { order_by_category(keys, seed, order); });
}

Array<std::int64_t> bound_random_order(std::size_t size, std::uint64_t seed) {
  return make_order(size, [&](std::span<std::int64_t> order) { random_order(seed, order); });
}

}  // namespace

void register_lid(py::module_& m) {
  m.attr("MAX_LID") = kMaxLid;
  m.def("estimate_lid", &bound_estimate_lid, py::arg("distances").noconvert(), py::arg("estimator"),
        "See whimbrel.estimate_lid.");
  m.def("distance_to_mean", &bound_distance_to_mean, py::arg("data").noconvert(), py::arg("threads"),
        "See whimbrel.distance_to_mean.");
  m.def("order_by_value", &bound_order_by_value, py::arg("values").noconvert(), py::arg("descending"),
        "See whimbrel.insertion_order.");
  m.def("order_by_category", &bound_order_by_category, py::arg("labels").noconvert(), py::arg("seed"),
        "See whimbrel.named_order.");
  m.def("random_order", &bound_random_order, py::arg("size"), py::arg("seed"), "See whimbrel.named_order.");
}

}  // namespace whimbrel::python
