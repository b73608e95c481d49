// Exact neighbors, intrinsic dimensionality and orders in C.
#include "whimbrel/exact.hpp"

#include "c_api/boundary.hpp"
#include "whimbrel/insertion_order.hpp"
#include "whimbrel/lid.hpp"

using namespace whimbrel::c_api;

extern "C" {

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

}  // extern "C"
