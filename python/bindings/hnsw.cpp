// HnswIndex. Every call releases the GIL, the short ones too: a call may wait for an add() of another thread,
// and that add() needs the GIL to look for signals.
#include "module.hpp"

#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "arrays.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/errors.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel::python {
namespace {

/// File objects get and give bytes in pieces of at most this size.
constexpr std::size_t kPiece = std::size_t{1} << 22;

template <class Fn>
auto without_gil(const Fn& fn) {
  const py::gil_scoped_release nogil;
  return fn();
}

HnswIndex make_index(std::size_t dim, const std::string& metric, std::uint32_t M,
                     std::uint32_t ef_construction, std::uint32_t ef_search, std::uint64_t seed,
                     double batch_growth, bool keep_pruned, const std::string& codec) {
  HnswParams params;
  params.metric = metric_from_name(metric);
  params.M = M;
  params.ef_construction = ef_construction;
  params.ef_search = ef_search;
  params.seed = seed;
  params.batch_growth = batch_growth;
  params.keep_pruned = keep_pruned;
  params.codec = codec_from_name(codec);
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
  return out;
}

py::dict stats_dict(const HnswIndex& self) {
  const HnswStats s = without_gil([&] { return self.stats(); });
  py::dict out;
  out["size"] = s.size;
  out["max_level"] = s.max_level;
  out["level_sizes"] = py::tuple(py::cast(s.level_sizes));
  out["degree_histogram"] = py::tuple(py::cast(s.degree_histogram));
  out["mean_degree"] = s.mean_degree;
  out["code_dim"] = s.code_dim;
  out["projected"] = s.projected;
  out["build_seconds"] = s.build_seconds;
  return out;
}

py::tuple validate_tuple(const HnswIndex& self) {
  const HnswValidation v = without_gil([&] { return self.validate(); });
  return py::make_tuple(v.unreachable, v.no_in_edges, v.dead_edges);
}

using OptionalIds = std::optional<Array<std::int64_t>>;

void add(HnswIndex& self, const Array<float>& vectors, const OptionalIds& ids, const OptionalIds& order,
         std::size_t threads, const py::object& progress) {
  const auto rows = as_matrix(vectors);
  AddOptions options;
  if (ids) options.ids = as_vector(*ids);
  if (order) options.order = as_vector(*order);
  options.threads = threads;
  options.progress = make_progress(progress);
  const py::gil_scoped_release nogil;
  self.add(rows, options);
}

py::tuple search(const HnswIndex& self, const Array<float>& queries, std::size_t k, std::size_t ef_search,
                 std::size_t threads, bool counted) {
  const auto points = as_matrix(queries);
  const SearchParams params{k, ef_search, threads, make_progress(py::none())};
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

Array<float> get_vectors(const HnswIndex& self, const Array<std::int64_t>& ids) {
  const auto wanted = as_vector(ids);
  auto out = empty_matrix<float>(wanted.size(), self.dim());
  const auto values = as_output(out);
  const py::gil_scoped_release nogil;
  self.get_vectors(wanted, values.data());
  return out;
}

/// Run `fn` without the GIL; an error of the operating system becomes an OSError that names the file.
template <class Fn>
auto with_path(const std::string& path, const Fn& fn) {
  try {
    return without_gil(fn);
  } catch (const std::system_error& e) {
    const auto name = py::reinterpret_steal<py::object>(
        PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<py::ssize_t>(path.size())));
    PyErr_SetObject(PyExc_OSError, py::make_tuple(e.code().value(), e.code().message(), name).ptr());
    throw py::error_already_set();
  }
}

void save_path(const HnswIndex& self, const std::string& path) {
  with_path(path, [&] { self.save(path); });
}

HnswIndex load_path(const std::string& path) {
  return with_path(path, [&] { return HnswIndex::load(path); });
}

void save_file(const HnswIndex& self, const py::object& file) {
  const py::object write = file.attr("write");
  const ByteSink sink = [handle = py::handle(write)](const void* data, std::size_t size) {
    const py::gil_scoped_acquire gil;
    for (const char* p = static_cast<const char*>(data); size > 0;) {
      const std::size_t piece = std::min(size, kPiece);
      const py::object answer = handle(py::bytes(p, piece));
      // Raw files may write less; objects that are not quite files return nothing.
      const std::size_t written = answer.is_none() ? piece : answer.cast<std::size_t>();
      if (written == 0 || written > piece)
        throw std::invalid_argument("file: expected write() to take some of the bytes");
      p += written;
      size -= written;
    }
  };
  without_gil([&] { self.save(sink); });
}

HnswIndex load_file(const py::object& file) {
  const py::object read = file.attr("read");
  const ByteSource source = [handle = py::handle(read)](void* data, std::size_t size) -> std::size_t {
    const py::gil_scoped_acquire gil;
    const std::size_t piece = std::min(size, kPiece);
    const py::object answer = handle(piece);
    if (!PyObject_CheckBuffer(answer.ptr()))
      throw py::type_error("file: expected read() to return bytes; is the file open in binary mode?");
    const py::buffer_info bytes = py::reinterpret_borrow<py::buffer>(answer).request();
    const auto got = static_cast<std::size_t>(bytes.size * bytes.itemsize);
    if (got > piece)
      throw std::invalid_argument("file: expected read() to return at most the bytes asked for");
    std::memcpy(data, bytes.ptr, got);
    return got;
  };
  return without_gil([&] { return HnswIndex::load(source); });
}

py::bytes dumps(const HnswIndex& self) {
  std::string out;
  const ByteSink sink = [&](const void* data, std::size_t size) {
    out.append(static_cast<const char*>(data), size);
  };
  without_gil([&] { self.save(sink); });
  return py::bytes(out);
}

HnswIndex loads(const py::buffer& data) {
  const py::buffer_info bytes = data.request();
  if (!PyBuffer_IsContiguous(bytes.view(), 'C'))
    throw std::invalid_argument("data: expected contiguous bytes");
  const char* next = static_cast<const char*>(bytes.ptr);
  auto left = static_cast<std::size_t>(bytes.size * bytes.itemsize);
  const ByteSource source = [&](void* out, std::size_t size) {
    const std::size_t piece = std::min(size, left);
    std::memcpy(out, next, piece);
    next += piece;
    left -= piece;
    return piece;
  };
  return without_gil([&] { return HnswIndex::load(source); });
}

}  // namespace

void register_hnsw(py::module_& m) {
  py::class_<HnswIndex>(m, "HnswIndex", "See whimbrel.HnswIndex.")
      .def(py::init(&make_index), py::arg("dim"), py::arg("metric"), py::arg("M"), py::arg("ef_construction"),
           py::arg("ef_search"), py::arg("seed"), py::arg("batch_growth"), py::arg("keep_pruned"),
           py::arg("codec"))
      .def("add", &add, py::arg("vectors").noconvert(), py::arg("ids").noconvert().none(true),
           py::arg("order").noconvert().none(true), py::arg("threads"), py::arg("progress"))
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("ef_search"),
           py::arg("threads"), py::arg("counted"))
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
      .def("save_path", &save_path, py::arg("path"))
      .def("save_file", &save_file, py::arg("file"))
      .def("dumps", &dumps)
      .def_static("load_path", &load_path, py::arg("path"))
      .def_static("load_file", &load_file, py::arg("file"))
      .def_static("loads", &loads, py::arg("data"));
}

}  // namespace whimbrel::python
