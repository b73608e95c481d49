// MultiVectorIndex. As for HnswIndex, every call releases the GIL.
#include "module.hpp"

#include <memory>
#include <optional>
#include <string>

#include "arrays.hpp"
#include "files.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/multi_vector_index.hpp"

namespace whimbrel::python {
namespace {

using Floats = Array<float>;
using Ints = Array<std::int64_t>;

MultiVectorIndex make_index(std::size_t dim, std::size_t encoding_dim, const std::string& store,
                            std::uint32_t M, std::uint32_t ef_construction, std::uint64_t seed) {
  MultiVectorParams params;
  params.dim = dim;
  params.encoding_dim = encoding_dim;
  params.store = token_type_from_name(store);
  params.graph.M = M;
  params.graph.ef_construction = ef_construction;
  params.graph.seed = seed;
  return MultiVectorIndex(params);
}

py::dict params_dict(const MultiVectorIndex& self) {
  const MultiVectorParams p = without_gil([&] { return self.params(); });
  py::dict out;
  out["dim"] = p.dim;
  out["encoding_dim"] = p.encoding_dim;
  out["store"] = token_type_name(p.store);
  out["M"] = p.graph.M;
  out["ef_construction"] = p.graph.ef_construction;
  out["seed"] = p.graph.seed;
  return out;
}

void add(MultiVectorIndex& self, const Floats& encodings, const Floats& tokens, const Ints& offsets,
         std::size_t threads, const py::object& progress) {
  const auto rows = as_matrix(encodings);
  const RaggedView docs = as_ragged(tokens, offsets);
  const ProgressFn report = make_progress(progress);
  without_gil([&] { self.add(rows, docs, threads, report); });
}

py::tuple search(const MultiVectorIndex& self, const Floats& encodings, const Floats& tokens,
                 const Ints& offsets, std::size_t k, std::size_t candidates, std::size_t ef_search,
                 const std::optional<Array<std::uint8_t>>& allowed, std::size_t threads) {
  const auto rows = as_matrix(encodings);
  const RaggedView queries = as_ragged(tokens, offsets);
  MultiVectorSearch params{k, candidates, ef_search, {}, threads, make_progress(py::none())};
  if (allowed) params.allowed = as_vector(*allowed);
  auto ids = empty_matrix<std::int64_t>(queries.size(), k);
  auto scores = empty_matrix<float>(queries.size(), k);
  {
    const auto ids_out = as_output(ids);
    const auto scores_out = as_output(scores);
    const py::gil_scoped_release nogil;
    self.search(rows, queries, params, ids_out.data(), scores_out.data());
  }
  return py::make_tuple(ids, scores);
}

void compress(MultiVectorIndex& self, std::uint64_t seed, std::size_t threads, const py::object& progress) {
  const ProgressFn report = make_progress(progress);
  without_gil([&] { self.compress(seed, threads, report); });
}

void remove(MultiVectorIndex& self, const Ints& ids) {
  const auto rows = as_vector(ids);
  without_gil([&] { self.remove(rows); });
}

void save(const MultiVectorIndex& self, const std::string& path, const std::string& metadata) {
  with_path(path, [&] { self.save(path, metadata); });
}

py::tuple load(const std::string& path, bool mmap) {
  MultiVectorIndex::Loaded loaded = with_path(path, [&] { return MultiVectorIndex::load(path, mmap); });
  return py::make_tuple(std::move(loaded.index), py::bytes(loaded.metadata));
}

}  // namespace

void register_multi_vector_index(py::module_& m) {
  py::class_<MultiVectorIndex>(m, "MultiVectorIndex", "See whimbrel.MultiVectorIndex.")
      .def(py::init(&make_index), py::arg("dim"), py::arg("encoding_dim"), py::arg("store"), py::arg("M"),
           py::arg("ef_construction"), py::arg("seed"))
      .def("add", &add, py::arg("encodings").noconvert(), py::arg("tokens").noconvert(),
           py::arg("offsets").noconvert(), py::arg("threads"), py::arg("progress"))
      .def("search", &search, py::arg("encodings").noconvert(), py::arg("tokens").noconvert(),
           py::arg("offsets").noconvert(), py::arg("k"), py::arg("candidates"), py::arg("ef_search"),
           py::arg("allowed").noconvert().none(true), py::arg("threads"))
      .def("remove", &remove, py::arg("ids").noconvert())
      .def("compress", &compress, py::arg("seed"), py::arg("threads"), py::arg("progress"))
      .def("compressed",
           [](const MultiVectorIndex& self) { return without_gil([&] { return self.compressed(); }); })
      .def("params", &params_dict)
      .def("size", [](const MultiVectorIndex& self) { return without_gil([&] { return self.size(); }); })
      .def("n_alive",
           [](const MultiVectorIndex& self) { return without_gil([&] { return self.n_alive(); }); })
      .def("removed",
           [](const MultiVectorIndex& self) { return to_array(without_gil([&] { return self.removed(); })); })
      .def("n_tokens",
           [](const MultiVectorIndex& self) { return without_gil([&] { return self.n_tokens(); }); })
      .def("memory_usage",
           [](const MultiVectorIndex& self) { return without_gil([&] { return self.memory_usage(); }); })
      .def("save", &save, py::arg("path"), py::arg("metadata"))
      .def_static("load", &load, py::arg("path"), py::arg("mmap"));
}

}  // namespace whimbrel::python
