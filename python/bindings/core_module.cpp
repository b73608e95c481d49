// The extension module whimbrel._core: its exceptions, and a call to each noun's own file. Docstrings live in
// the Python layer.
#include "module.hpp"

#include <system_error>

#include "progress.hpp"
#include "whimbrel/cpu_isa.hpp"
#include "whimbrel/errors.hpp"

namespace whimbrel::python {
namespace {

/// Exceptions that pybind11 does not map by itself.
void register_errors(py::module_& m) {
  py::register_exception<FormatError>(m, "FormatError", PyExc_ValueError).attr("__module__") = "whimbrel";
  py::register_exception<Cancelled>(m, "CancelledError", PyExc_RuntimeError).attr("__module__") = "whimbrel";
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const std::system_error& e) {
      PyErr_SetObject(PyExc_OSError, py::make_tuple(e.code().value(), e.what()).ptr());
    }
  });
}

}  // namespace
}  // namespace whimbrel::python

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Compiled core of whimbrel. Private: use the functions and classes of the package.";
  m.attr("__version__") = WHIMBREL_VERSION;
  m.def("available_isas", &whimbrel::available_isas, "See whimbrel.available_isas.");
  m.def("active_isa", &whimbrel::active_isa, "See whimbrel.active_isa.");
  whimbrel::python::register_errors(m);
  whimbrel::python::register_exact(m);
  whimbrel::python::register_fde(m);
  whimbrel::python::register_lemur(m);
  whimbrel::python::register_lid(m);
  whimbrel::python::register_hnsw(m);
  whimbrel::python::register_maxsim(m);
  whimbrel::python::register_multi_vector_index(m);
  whimbrel::python::register_cur(m);
}
