// FdeEncoder.
#include "module.hpp"

#include <cstring>
#include <string>

#include "arrays.hpp"
#include "fde_params.hpp"
#include "progress.hpp"
#include "whimbrel/fde.hpp"

namespace whimbrel::python {
namespace {

FdeEncoder make_encoder(std::size_t dim, std::uint32_t k_sim, std::uint32_t r_reps,
                        const std::string& projection, std::size_t d_proj, std::size_t d_final,
                        bool fill_empty, std::uint64_t seed, const std::string& mode,
                        const Array<float>& center, bool fill_mean) {
  FdeParams params =
      make_fde_params(dim, k_sim, r_reps, projection, d_proj, d_final, fill_empty, seed, mode, center);
  params.fill_mean = fill_mean;
  const py::gil_scoped_release nogil;
  return FdeEncoder(params);
}

template <class T>
py::object encode_as(const FdeEncoder& self, const RaggedView& sets, bool documents, const char* dtype,
                     T* FdeOutput::* values, const FdeOptions& options) {
  FdeOutput out;
  py::array rows(py::dtype(dtype), {sets.size(), self.dim_out()});
  out.*values = static_cast<T*>(rows.mutable_data());
  auto scales = empty_vector<float>(sets.size());
  out.scales = scales.mutable_data();
  {
    const py::gil_scoped_release nogil;
    documents ? self.encode_documents(sets, options, out) : self.encode_queries(sets, options, out);
  }
  if (out.i8 != nullptr) return py::make_tuple(rows, scales);
  return rows;
}

/// float32 or float16: (n, dim_out); int8: that and scales (n,).
py::object encode(const FdeEncoder& self, const Array<float>& tokens, const Array<std::int64_t>& offsets,
                  bool documents, const std::string& dtype, std::size_t threads, const py::object& progress) {
  const RaggedView sets = as_ragged(tokens, offsets);
  const FdeOptions options{threads, make_progress(progress)};
  if (dtype == "float32") return encode_as(self, sets, documents, "float32", &FdeOutput::f32, options);
  if (dtype == "float16") return encode_as(self, sets, documents, "float16", &FdeOutput::f16, options);
  if (dtype == "int8") return encode_as(self, sets, documents, "int8", &FdeOutput::i8, options);
  throw std::invalid_argument("dtype: expected 'float32', 'float16' or 'int8', got '" + dtype + "'");
}

Array<std::uint32_t> partitions(const FdeEncoder& self, const Array<float>& tokens, std::size_t threads) {
  const auto rows = as_matrix(tokens);
  auto out = empty_matrix<std::uint32_t>(self.params().r_reps, rows.rows);
  const auto cells = as_output(out);
  const py::gil_scoped_release nogil;
  self.partitions(rows, threads, cells.data());
  return out;
}

}  // namespace

void register_fde(py::module_& m) {
  py::class_<FdeEncoder>(m, "FdeEncoder", "See whimbrel.FdeEncoder.")
      .def(py::init(&make_encoder), py::arg("dim"), py::arg("k_sim"), py::arg("r_reps"),
           py::arg("projection"), py::arg("d_proj"), py::arg("d_final"), py::arg("fill_empty"),
           py::arg("seed"), py::arg("mode"), py::arg("center").noconvert(), py::arg("fill_mean"))
      .def("encode", &encode, py::arg("tokens").noconvert(), py::arg("offsets").noconvert(),
           py::arg("documents"), py::arg("dtype"), py::arg("threads"), py::arg("progress"))
      .def("partitions", &partitions, py::arg("tokens").noconvert(), py::arg("threads"))
      .def("dim_out", [](const FdeEncoder& self) { return self.dim_out(); })
      .def("d_proj", [](const FdeEncoder& self) { return self.params().d_proj; })
      .def("fingerprint", [](const FdeEncoder& self) { return self.fingerprint(); });
}

}  // namespace whimbrel::python
