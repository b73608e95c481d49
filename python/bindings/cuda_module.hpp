// Included first by every file of the extension module _cuda, as module.hpp by those of _core.
#pragma once

#include "module.hpp"

namespace whimbrel::cuda {
class CudaError;
}

namespace whimbrel::python {

/// Make it the current error of Python. With the GIL.
void set_cuda_error(const cuda::CudaError& e);

void register_cuda_cur(py::module_& m);
void register_cuda_device(py::module_& m);
void register_cuda_exact(py::module_& m);
void register_cuda_hnsw(py::module_& m);
void register_cuda_knn(py::module_& m);
void register_cuda_sets(py::module_& m);

}  // namespace whimbrel::python
