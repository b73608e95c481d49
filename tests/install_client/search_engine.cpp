// A search engine in C++: vectors in, an index built in the order of their intrinsic dimensionality, kept in
// a file, searched, and compared with exact search.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include <whimbrel/exact.hpp>
#include <whimbrel/hnsw.hpp>
#include <whimbrel/insertion_order.hpp>
#include <whimbrel/lid.hpp>

int main(int argc, char** argv) {
  constexpr std::size_t n = 5000, dim = 32, n_queries = 100, k = 10;
  std::vector<float> values((n + n_queries) * dim);
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::generate(values.begin(), values.end(), [&] { return normal(generator); });
  const whimbrel::MatrixView<const float> vectors(values.data(), n, dim);
  const whimbrel::MatrixView<const float> queries(vectors.row(n), n_queries, dim);

  // The points whose neighborhood has the highest dimension go first.
  std::vector<std::int64_t> neighbors(n * k), order(n);
  std::vector<float> distances(n * k);
  std::vector<double> lid(n);
  whimbrel::knn_self(vectors, {.k = k}, neighbors.data(), distances.data());
  for (float& distance : distances) distance = std::sqrt(distance);  // the index's are squared
  whimbrel::estimate_lid({distances.data(), n, k}, whimbrel::LidEstimator::kMle, lid.data());
  whimbrel::order_by_value(lid, true, order);

  const char* path = argc > 1 ? argv[1] : "search_engine.whb";
  whimbrel::HnswIndex::build(vectors, {.M = 16}, {.order = order}).save(path);
  const auto index = whimbrel::HnswIndex::load(path);

  std::vector<std::int64_t> found(n_queries * k), exact(n_queries * k);
  std::vector<float> scores(n_queries * k);
  index.search(queries, {.k = k, .ef_search = 200}, found.data(), scores.data());
  whimbrel::knn(vectors, queries, {.k = k}, exact.data(), scores.data());

  std::size_t hits = 0;
  for (std::size_t q = 0; q < n_queries; ++q)
    for (std::size_t i = 0; i < k; ++i)
      hits += std::count(&exact[q * k], &exact[q * k] + k, found[q * k + i]) > 0 ? 1 : 0;
  const double recall = static_cast<double>(hits) / static_cast<double>(n_queries * k);
  std::printf("%zu vectors, recall@%zu %.3f\n", index.size(), k, recall);
  return recall > 0.95 ? 0 : 1;
}
