// Vectors of bytes in C++: views of each type, the checks that Python makes by itself, and instruction sets.
#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "hnsw/byte_rows.hpp"
#include "hnsw/points.hpp"
#include "random_values.hpp"
#include "whimbrel/byte_io.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/hnsw.hpp"
#include "whimbrel/hooks.hpp"

using namespace whimbrel;

namespace {

constexpr std::size_t kDim = 20, kRows = 400;

template <class T>
std::vector<T> random_bytes(std::size_t n, std::uint64_t seed) {
  std::vector<T> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = static_cast<T>(random_bits(seed, RandomPurpose::kInsertionOrder, i));
  return out;
}

HnswParams byte_params(VectorType type, Metric metric = Metric::kL2) {
  HnswParams params;
  params.vector_type = type;
  params.metric = metric;
  params.M = 6;
  params.ef_construction = 40;
  return params;
}

template <class T>
double product(const T* a, const T* b) {
  double sum = 0;
  for (std::size_t j = 0; j < kDim; ++j) sum += double(a[j]) * double(b[j]);
  return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("an index of bytes takes and gives a matrix of its type", T, std::int8_t, std::uint8_t) {
  const auto rows = random_bytes<T>(kRows * kDim, 1);
  const MatrixView<const T> matrix(rows.data(), kRows, kDim);
  const VectorType type = VectorsView(matrix).type;
  for (const Metric metric : {Metric::kL2, Metric::kIp}) {
    HnswIndex index = HnswIndex::build(matrix, byte_params(type, metric));
    std::vector<std::int64_t> ids(2 * kRows);
    std::vector<float> distances(2 * kRows);
    index.search(matrix, {.k = 2, .ef_search = 100}, ids.data(), distances.data());
    std::size_t selves = 0;
    for (std::size_t i = 0; i < kRows; ++i) {
      const T *a = matrix.row(i), *b = matrix.row(static_cast<std::size_t>(ids[2 * i]));
      const double ab = product(a, b);
      CHECK(distances[2 * i] ==
            static_cast<float>(metric == Metric::kIp ? -ab : product(a, a) + product(b, b) - 2 * ab));
      selves += ids[2 * i] == static_cast<std::int64_t>(i);
    }
    if (metric == Metric::kL2) CHECK(selves == kRows);
    std::vector<T> out(kDim);
    index.get_vectors({ids.data(), 1}, out.data());
    CHECK(std::equal(out.begin(), out.end(), matrix.row(static_cast<std::size_t>(ids[0]))));

    const auto floats = values(kDim, 2);
    CHECK_THROWS_AS(index.add({floats.data(), 1, kDim}), std::invalid_argument);
    CHECK_THROWS_AS(index.search({floats.data(), 1, kDim}, {.k = 1}, ids.data(), distances.data()),
                    std::invalid_argument);
    std::vector<float> wide(kDim);
    CHECK_THROWS_AS(index.get_vectors({ids.data(), 1}, wide.data()), std::invalid_argument);
    CHECK(index.size() == kRows);

    // With a stride.
    HnswIndex halves(kDim / 2, byte_params(type, metric));
    halves.add({rows.data(), kRows, kDim / 2, kDim});
    halves.get_vectors({ids.data(), 1}, out.data());
    CHECK(std::equal(out.begin(), out.begin() + kDim / 2, matrix.row(static_cast<std::size_t>(ids[0]))));
  }
}

TEST_CASE("distances of stored bytes are the same on every instruction set") {
  for (const VectorType type : {VectorType::kInt8, VectorType::kUint8})
    for (const Metric metric : {Metric::kL2, Metric::kIp}) {
      const auto rows = random_bytes<std::int8_t>(kRows * kDim, 3);
      const auto as_unsigned = random_bytes<std::uint8_t>(kRows * kDim, 3);
      const VectorsView view = type == VectorType::kInt8 ? VectorsView(rows.data(), kRows, kDim)
                                                         : VectorsView(as_unsigned.data(), kRows, kDim);
      Graph graph(kDim, byte_params(type, metric));
      graph.codes.resize(kRows);
      graph.code_terms.resize(kRows);
      std::vector<std::uint32_t> nodes(kRows);
      for (std::uint32_t i = 0; i < kRows; ++i) {
        put_byte_row(graph, i, view, i);
        nodes[i] = i;
      }
      PairPoints points = pair_points(graph.codes, graph.code_terms.data(), {kDim}, metric);
      PairPoints::Scratch scratch(points);
      std::vector<float> expected(kRows), out(kRows);
      points.distances(points.query(7, scratch), nodes.data(), kRows, expected.data());
      for (const kernels::KernelTable* table : kernels::available_tables()) {
        points.kernel = (metric == Metric::kL2 ? table->l2 : table->ip).code_pairs;
        points.distances(points.query(7, scratch), nodes.data(), kRows, out.data());
        CHECK(out == expected);
      }
    }
}

TEST_CASE("what bytes cannot be had with is refused, and their memory is counted") {
  const auto rows = random_bytes<std::int8_t>(kRows * kDim, 4);
  CHECK_THROWS_AS(HnswIndex(kDim, byte_params(VectorType::kInt8, Metric::kCosine)), std::invalid_argument);
  CHECK_THROWS_AS(HnswIndex(40000, byte_params(VectorType::kUint8)), std::invalid_argument);
  CHECK_THROWS_AS(HnswIndex(kDim, byte_params(VectorType{3})), std::invalid_argument);
  const auto floats = values(10 * kDim, 5);
  CHECK_THROWS_AS(HnswIndex::bulk_build({floats.data(), 10, kDim}, byte_params(VectorType::kInt8), {},
                                        link_nearest(knn_earlier)),
                  std::invalid_argument);

  MemoryLimit memory(std::size_t{1} << 30);
  Hooks hooks;
  hooks.memory = &memory;
  const UseHooks scope(hooks);
  HnswIndex index = HnswIndex::build({rows.data(), kRows - 1, kDim}, byte_params(VectorType::kInt8));
  CHECK(memory.used() == index.memory_usage());
  index.add({rows.data() + (kRows - 1) * kDim, 1, kDim});
  CHECK(memory.used() == index.memory_usage());
}

TEST_CASE("terms of bytes stay on their account when an addition fails, and go with their rows") {
  const auto data = random_bytes<std::uint8_t>(kRows * kDim, 5);
  MemoryLimit account(std::size_t{1} << 30);
  HnswIndex index(kDim, byte_params(VectorType::kUint8));
  Hooks hooks;
  hooks.memory = &account;
  {
    const UseHooks scope(hooks);
    index.add(MatrixView<const std::uint8_t>(data.data(), kRows, kDim));
  }
  const std::size_t before = account.used();
  MemoryLimit other(std::size_t{1} << 30);
  Hooks cancelling;
  cancelling.memory = &other;
  {
    const UseHooks scope(cancelling);
    AddOptions options;
    options.progress = [](std::size_t, std::size_t) { throw Cancelled(); };
    CHECK_THROWS_AS(index.add(MatrixView<const std::uint8_t>(data.data(), kRows, kDim), options), Cancelled);
  }
  CHECK(other.used() == 0);
  CHECK(account.used() == before);
  CHECK(index.size() == kRows);

  const UseHooks scope(hooks);
  const auto ids = index.ids();
  index.remove(std::span(ids).first(kRows - 1));
  index.compact();
  CHECK(account.used() == index.memory_usage());
  CHECK(index.memory_usage() < before / 10);
}
