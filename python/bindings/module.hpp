// Included first by every binding file: pybind11 and the list of what the module registers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

namespace whimbrel::python {

void register_cur(py::module_& m);
void register_exact(py::module_& m);
void register_fde(py::module_& m);
void register_hnsw(py::module_& m);
void register_lemur(py::module_& m);
void register_lid(py::module_& m);
void register_maxsim(py::module_& m);
void register_multi_vector_index(py::module_& m);

}  // namespace whimbrel::python
