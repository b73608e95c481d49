// The extension module whimbrel._cuda: the CUDA kernels, behind the functions of the package. Importing it
// calls nothing of CUDA, so it loads on a machine without a driver too. Docstrings live in the Python layer.
#include "cuda_module.hpp"

#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::python {

void set_cuda_error(const cuda::CudaError& e) {
  const py::object type = py::module_::import("whimbrel.cuda").attr("CudaError");
  PyErr_SetObject(type.ptr(), type(e.what(), static_cast<int>(e.code())).ptr());
}

namespace {

/// Errors of the runtime arrive as whimbrel.CudaError, with the runtime's number as `code`.
void register_errors() {
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const cuda::CudaError& e) {
      set_cuda_error(e);
    }
  });
}

}  // namespace
}  // namespace whimbrel::python

PYBIND11_MODULE(_cuda, m, py::mod_gil_not_used()) {
  m.doc() = "CUDA kernels of whimbrel. Private: use the functions and classes of the package.";
  whimbrel::python::register_errors();
  whimbrel::python::register_cuda_device(m);
  whimbrel::python::register_cuda_exact(m);
  whimbrel::python::register_cuda_cur(m);
  whimbrel::python::register_cuda_hnsw(m);
  whimbrel::python::register_cuda_knn(m);
  whimbrel::python::register_cuda_sets(m);
}
