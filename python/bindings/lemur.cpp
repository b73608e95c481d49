// LemurEncoder.
#include "whimbrel/lemur.hpp"

#include "module.hpp"

#include "arrays.hpp"
#include "progress.hpp"

namespace whimbrel::python {
namespace {

LemurEncoder make_encoder(const Array<float>& sample, std::size_t width, double ridge, std::uint64_t seed,
                          std::size_t threads, const py::object& progress) {
  const auto tokens = as_matrix(sample);
  const LemurOptions options{threads, make_progress(progress)};
  const py::gil_scoped_release nogil;
  return LemurEncoder(tokens, {width, ridge, seed}, options);
}

Array<float> encode(const LemurEncoder& self, const Array<float>& tokens, const Array<std::int64_t>& offsets,
                    bool documents, std::size_t threads, const py::object& progress) {
  const RaggedView sets = as_ragged(tokens, offsets);
  const LemurOptions options{threads, make_progress(progress)};
  auto rows = empty_matrix<float>(sets.size(), self.params().width);
  {
    const auto out = as_output(rows);
    const py::gil_scoped_release nogil;
    if (documents)
      self.encode_documents(sets, options, out.data());
    else
      self.encode_queries(sets, options, out.data());
  }
  return rows;
}

}  // namespace

void register_lemur(py::module_& m) {
  py::class_<LemurEncoder>(m, "LemurEncoder", "See whimbrel.LemurEncoder.")
      .def(py::init(&make_encoder), py::arg("sample").noconvert(), py::arg("width"), py::arg("ridge"),
           py::arg("seed"), py::arg("threads"), py::arg("progress"))
      .def("encode", &encode, py::arg("tokens").noconvert(), py::arg("offsets").noconvert(),
           py::arg("documents"), py::arg("threads"), py::arg("progress"))
      .def("fingerprint", [](const LemurEncoder& self) { return self.fingerprint(); });
}

}  // namespace whimbrel::python
