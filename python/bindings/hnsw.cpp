// HnswIndex. Every call releases the GIL, the short ones too: a call may wait for an add() of another thread,
// and that add() needs the GIL to look for signals.
#include "module.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "files.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel::python {
namespace {

HnswIndex make_index(std::size_t dim, const std::string& metric, std::uint32_t M,
                     std::uint32_t ef_construction, std::uint32_t ef_search, std::uint64_t seed,
                     double batch_growth, bool keep_pruned, const std::string& codec,
                     const std::string& rerank, const std::string& dtype) {
  HnswParams params;
  params.metric = metric_from_name(metric);
  params.M = M;
  params.ef_construction = ef_construction;
  params.ef_search = ef_search;
  params.seed = seed;
  params.batch_growth = batch_growth;
  params.keep_pruned = keep_pruned;
  params.codec = codec_from_name(codec);
  params.rerank = rerank_from_name(rerank);
  params.vector_type = vector_type_from_name(dtype);
  return HnswIndex(dim, params);
}

py::dict params_dict(const HnswIndex& self) {
  const HnswParams p = without_gil([&] { return self.params(); });
  py::dict out;
  out["metric"] = metric_name(p.metric);
  out["M"] = p.M;
  out["ef_construction"] = p.ef_construction;
  out["ef_search"] = p.ef_search;
  out["seed"] = p.seed;
  out["batch_growth"] = p.batch_growth;
  out["keep_pruned"] = p.keep_pruned;
  out["codec"] = codec_name(p.codec);
  out["rerank"] = rerank_name(p.rerank);
  out["dtype"] = vector_type_name(p.vector_type);
  return out;
}

py::dict stats_dict(const HnswIndex& self) {
  const HnswStats s = without_gil([&] { return self.stats(); });
  py::dict out;
  out["size"] = s.size;
  out["removed"] = s.removed;
  out["max_level"] = s.max_level;
  out["level_sizes"] = py::tuple(py::cast(s.level_sizes));
  out["degree_histogram"] = py::tuple(py::cast(s.degree_histogram));
  out["mean_degree"] = s.mean_degree;
  out["code_dim"] = s.code_dim;
  out["projected"] = s.projected;
  out["code_bits"] = s.code_bits;
  out["borrowed_bytes"] = s.borrowed_bytes;
  out["build_seconds"] = s.build_seconds;
  return out;
}

py::tuple validate_tuple(const HnswIndex& self) {
  const HnswValidation v = without_gil([&] { return self.validate(); });
  return py::make_tuple(v.unreachable, v.no_in_edges, v.dead_edges);
}

using OptionalIds = std::optional<Array<std::int64_t>>;
using OptionalCounts = std::optional<Array<std::uint32_t>>;

/// Levels, beams and links by row.
struct PerRow {
  std::optional<Array<std::uint8_t>> levels;
  OptionalCounts ef_construction, links;
};

AddOptions add_options(const OptionalIds& ids, const OptionalIds& order, const PerRow& per_row,
                       std::size_t threads, const py::object& progress) {
  AddOptions options;
  if (per_row.levels) options.levels = as_vector(*per_row.levels);
  if (per_row.ef_construction) options.ef_construction = as_vector(*per_row.ef_construction);
  if (per_row.links) options.links = as_vector(*per_row.links);
  if (ids) options.ids = as_vector(*ids);
  if (order) options.order = as_vector(*order);
  options.threads = threads;
  options.progress = make_progress(progress);
  return options;
}

void add(HnswIndex& self, const py::array& vectors, const OptionalIds& ids, const OptionalIds& order,
         const PerRow& per_row, std::size_t threads, const py::object& progress) {
  const auto rows = as_vectors(vectors);
  const AddOptions options = add_options(ids, order, per_row, threads, progress);
  const py::gil_scoped_release nogil;
  self.add(rows, options);
}

/// Whoever is bound to this keeps the array alive.
void add_over(HnswIndex& self, const StridedFloats& vectors, const OptionalIds& ids, const OptionalIds& order,
              const PerRow& per_row, std::size_t threads, const py::object& progress) {
  const auto rows = as_strided_matrix(vectors);
  AddOptions options = add_options(ids, order, per_row, threads, progress);
  options.copy = false;
  const py::gil_scoped_release nogil;
  self.add(rows, options);
}

template <bool kCopy>
HnswIndex bulk_build(const HnswIndex& self, const StridedFloats& vectors, const OptionalIds& ids,
                     const OptionalIds& order, const PerRow& per_row, std::size_t threads,
                     const py::object& progress, const py::object& linker) {
  const auto rows = as_strided_matrix(vectors);
  AddOptions options = add_options(ids, order, per_row, threads, progress);
  options.copy = kCopy;
  LevelLinker link = link_nearest(knn_earlier);
  if (!linker.is_none()) {
    const void* theirs = PyCapsule_GetPointer(linker.ptr(), kLinkerCapsule);
    if (theirs == nullptr) throw py::error_already_set();
    link = *static_cast<const LevelLinker*>(theirs);
  }
  return without_gil([&] { return HnswIndex::bulk_build(rows, self.params(), options, link); });
}

void remove(HnswIndex& self, const Array<std::int64_t>& ids, std::size_t threads) {
  const auto wanted = as_vector(ids);
  const ChangeOptions options{threads, make_progress(py::none())};
  without_gil([&] { self.remove(wanted, options); });
}

void update(HnswIndex& self, const Array<std::int64_t>& ids, const py::array& vectors, std::size_t threads,
            const py::object& progress) {
  const auto wanted = as_vector(ids);
  const auto rows = as_vectors(vectors);
  const ChangeOptions options{threads, make_progress(progress)};
  without_gil([&] { self.update(wanted, rows, options); });
}

void compact(HnswIndex& self, std::size_t threads) {
  const ChangeOptions options{threads, make_progress(py::none())};
  without_gil([&] { self.compact(options); });
}

void refine(HnswIndex& self, std::size_t threads, const py::object& progress) {
  const ChangeOptions options{threads, make_progress(progress)};
  without_gil([&] { self.refine(options); });
}

py::tuple search(const HnswIndex& self, const py::array& queries, std::size_t k, std::size_t ef_search,
                 const OptionalCounts& efs, const std::vector<const IdFilter*>& filters, bool exact,
                 std::size_t threads, bool counted) {
  const auto points = as_vectors(queries);
  SearchParams params{k, ef_search, threads, make_progress(py::none()), filters, exact};
  if (efs) params.efs = as_vector(*efs);
  auto ids = empty_matrix<std::int64_t>(points.rows, k);
  auto distances = empty_matrix<float>(points.rows, k);
  std::vector<SearchCounts> counts(counted ? points.rows : 0);
  {
    const auto ids_out = as_output(ids);
    const auto distances_out = as_output(distances);
    const py::gil_scoped_release nogil;
    self.search(points, params, ids_out.data(), distances_out.data(), counted ? counts.data() : nullptr);
  }
  if (!counted) return py::make_tuple(ids, distances);
  auto computed = empty_vector<std::int64_t>(points.rows), hops = empty_vector<std::int64_t>(points.rows);
  for (std::size_t i = 0; i < points.rows; ++i) {
    computed.mutable_data()[i] = static_cast<std::int64_t>(counts[i].distances);
    hops.mutable_data()[i] = static_cast<std::int64_t>(counts[i].hops);
  }
  return py::make_tuple(ids, distances, computed, hops);
}

py::tuple range_search(const HnswIndex& self, const py::array& queries, float radius, std::size_t ef_search,
                       const std::vector<const IdFilter*>& filters, bool exact, std::size_t threads) {
  const auto points = as_vectors(queries);
  const SearchParams params{1, ef_search, threads, make_progress(py::none()), filters, exact};
  const RangeResult found = without_gil([&] { return self.range_search(points, radius, params); });
  return py::make_tuple(to_array(found.offsets), to_array(found.ids), to_array(found.distances));
}

py::tuple knn_graph(const HnswIndex& self, std::size_t k, std::size_t ef_search,
                    const std::vector<const IdFilter*>& filters, bool exact, std::size_t threads,
                    const py::object& progress) {
  const SearchParams params{k, ef_search, threads, make_progress(progress), filters, exact};
  const KnnGraph graph = without_gil([&] { return self.knn_graph(params); });
  auto neighbors = empty_matrix<std::int64_t>(graph.ids.size(), k);
  auto distances = empty_matrix<float>(graph.ids.size(), k);
  std::copy(graph.neighbors.begin(), graph.neighbors.end(), neighbors.mutable_data());
  std::copy(graph.distances.begin(), graph.distances.end(), distances.mutable_data());
  return py::make_tuple(to_array(graph.ids), neighbors, distances);
}

py::tuple tune(HnswIndex& self, const std::optional<py::array>& queries, double recall, std::size_t k,
               std::size_t threads) {
  TuneParams params;
  if (queries) params.queries = as_vectors(*queries);
  params.recall = recall;
  params.k = k;
  params.threads = threads;
  params.progress = make_progress(py::none());
  const TunedEf t = without_gil([&] { return self.tune(params); });
  return py::make_tuple(t.recall, t.k, t.ef_search, t.measured);
}

py::list tuned(const HnswIndex& self) {
  py::list out;
  for (const TunedEf& t : without_gil([&] { return self.tuned(); }))
    out.append(py::make_tuple(t.recall, t.k, t.ef_search, t.measured));
  return out;
}

template <class T>
Array<T> vectors_of(const HnswIndex& self, std::span<const std::int64_t> ids) {
  auto out = empty_matrix<T>(ids.size(), self.dim());
  const auto values = as_output(out);
  without_gil([&] { self.get_vectors(ids, values.data()); });
  return out;
}

py::array get_vectors(const HnswIndex& self, const Array<std::int64_t>& ids) {
  const auto wanted = as_vector(ids);
  switch (without_gil([&] { return self.params().vector_type; })) {
    case VectorType::kInt8:
      return vectors_of<std::int8_t>(self, wanted);
    case VectorType::kUint8:
      return vectors_of<std::uint8_t>(self, wanted);
    case VectorType::kFloat32:
      break;
  }
  return vectors_of<float>(self, wanted);
}

/// Whoever is bound to this keeps `vectors` alive.
HnswIndex load_hnsw(const std::string& path, bool mmap, bool verify,
                    const std::optional<StridedFloats>& vectors) {
  LoadOptions options{mmap, verify};
  if (vectors) options.vectors = as_strided_matrix(*vectors);
  return with_path(path, [&] { return HnswIndex::load(path, options); });
}

}  // namespace

void register_hnsw(py::module_& m) {
  py::class_<IdFilter>(m, "IdFilter", "See whimbrel.IdFilter.")
      .def(py::init([](const Array<std::int64_t>& ids) { return IdFilter(as_vector(ids)); }),
           py::arg("ids").noconvert())
      .def_static(
          "from_places",
          [](const Array<std::uint8_t>& allowed) { return IdFilter::from_places(as_vector(allowed)); },
          py::arg("allowed").noconvert());
  py::class_<PerRow>(m, "PerRow", "See whimbrel.PerRow.")
      .def(py::init<std::optional<Array<std::uint8_t>>, OptionalCounts, OptionalCounts>(),
           py::arg("levels").noconvert().none(true), py::arg("ef_construction").noconvert().none(true),
           py::arg("links").noconvert().none(true));
  py::class_<HnswIndex>(m, "HnswIndex", "See whimbrel.HnswIndex.")
      .def(py::init(&make_index), py::arg("dim"), py::arg("metric"), py::arg("M"), py::arg("ef_construction"),
           py::arg("ef_search"), py::arg("seed"), py::arg("batch_growth"), py::arg("keep_pruned"),
           py::arg("codec"), py::arg("rerank"), py::arg("dtype"))
      .def("add", &add, py::arg("vectors").noconvert(), py::arg("ids").noconvert().none(true),
           py::arg("order").noconvert().none(true), py::arg("per_row"), py::arg("threads"),
           py::arg("progress"))
      .def("add_over", &add_over, py::keep_alive<1, 2>(), py::arg("vectors").noconvert(),
           py::arg("ids").noconvert().none(true), py::arg("order").noconvert().none(true), py::arg("per_row"),
           py::arg("threads"), py::arg("progress"))
      .def("bulk_build", &bulk_build<true>, py::arg("vectors").noconvert(),
           py::arg("ids").noconvert().none(true), py::arg("order").noconvert().none(true), py::arg("per_row"),
           py::arg("threads"), py::arg("progress"), py::arg("linker"))
      .def("bulk_build_over", &bulk_build<false>, py::keep_alive<0, 2>(), py::arg("vectors").noconvert(),
           py::arg("ids").noconvert().none(true), py::arg("order").noconvert().none(true), py::arg("per_row"),
           py::arg("threads"), py::arg("progress"), py::arg("linker"))
      .def("remove", &remove, py::arg("ids").noconvert(), py::arg("threads"))
      .def("update", &update, py::arg("ids").noconvert(), py::arg("vectors").noconvert(), py::arg("threads"),
           py::arg("progress"))
      .def("compact", &compact, py::arg("threads"))
      .def("refine", &refine, py::arg("threads"), py::arg("progress"))
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("ef_search"),
           py::arg("efs").noconvert().none(true), py::arg("filters"), py::arg("exact"), py::arg("threads"),
           py::arg("counted"))
      .def("range_search", &range_search, py::arg("queries").noconvert(), py::arg("radius"),
           py::arg("ef_search"), py::arg("filters"), py::arg("exact"), py::arg("threads"))
      .def("knn_graph", &knn_graph, py::arg("k"), py::arg("ef_search"), py::arg("filters"), py::arg("exact"),
           py::arg("threads"), py::arg("progress"))
      .def("tune", &tune, py::arg("queries").noconvert().none(true), py::arg("recall"), py::arg("k"),
           py::arg("threads"))
      .def("tuned", &tuned)
      .def(
          "tuned_ef",
          [](const HnswIndex& self, double recall, std::size_t k) {
            return without_gil([&] { return self.tuned_ef(recall, k); });
          },
          py::arg("recall"), py::arg("k"))
      .def("size", [](const HnswIndex& self) { return without_gil([&] { return self.size(); }); })
      .def("dim", [](const HnswIndex& self) { return self.dim(); })
      .def("params", &params_dict)
      .def(
          "set_ef_search",
          [](HnswIndex& self, std::uint32_t ef_search) {
            without_gil([&] { self.set_ef_search(ef_search); });
          },
          py::arg("ef_search"))
      .def("ids", [](const HnswIndex& self) { return to_array(without_gil([&] { return self.ids(); })); })
      .def("get_vectors", &get_vectors, py::arg("ids").noconvert())
      .def(
          "neighbors",
          [](const HnswIndex& self, std::int64_t id, std::size_t level) {
            return to_array(without_gil([&] { return self.neighbors(id, level); }));
          },
          py::arg("id"), py::arg("level"))
      .def("stats", &stats_dict)
      .def("validate", &validate_tuple)
      .def("memory_usage",
           [](const HnswIndex& self) { return without_gil([&] { return self.memory_usage(); }); })
      .def(
          "save_path",
          [](const HnswIndex& self, const std::string& path, bool vectors) {
            with_path(path, [&] { self.save(path, {vectors}); });
          },
          py::arg("path"), py::arg("vectors") = true)
      .def("save_file", &save_file<HnswIndex>, py::arg("file"))
      .def("dumps", &dumps<HnswIndex>)
      .def(
          "to_hnswlib",
          [](const HnswIndex& self, const std::string& path) {
            with_path(path, [&] { self.to_hnswlib(path); });
          },
          py::arg("path"))
      .def_static(
          "from_hnswlib",
          [](const std::string& path, std::size_t dim, const std::string& metric) {
            return with_path(path,
                             [&] { return HnswIndex::from_hnswlib(path, dim, metric_from_name(metric)); });
          },
          py::arg("path"), py::arg("dim"), py::arg("metric"))
      .def_static("load_path", &load_hnsw, py::keep_alive<0, 4>(), py::arg("path"), py::arg("mmap") = false,
                  py::arg("verify") = false, py::arg("vectors").noconvert().none(true) = py::none())
      .def_static("load_file", &load_file<HnswIndex>, py::arg("file"))
      .def_static("loads", &loads<HnswIndex>, py::arg("data"));
}

}  // namespace whimbrel::python
