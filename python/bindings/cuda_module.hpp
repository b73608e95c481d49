// Included first by every file of the extension module _cuda, as module.hpp by those of _core.
#pragma once

#include "module.hpp"

namespace whimbrel::python {

void register_cuda_device(py::module_& m);
void register_cuda_exact(py::module_& m);
void register_cuda_knn(py::module_& m);

}  // namespace whimbrel::python
