// The device's part of building an index: a linker that the core calls.
#include "cuda_module.hpp"

#include <cstdint>
#include <memory>

#include "cuda_arrays.hpp"
#include "names.hpp"
#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/cuda/hnsw_build.hpp"
#include "whimbrel/hnsw.hpp"

namespace whimbrel::python {
namespace {

/// Called by the other module, without the GIL. That module does not know CudaError, so it leaves as an error
/// of Python.
void link_on(int device, const LevelToLink& level, std::uint32_t* lists) {
  try {
    const DeviceGuard guard(device);
    const Stream stream;
    cuda::link_nearest(stream)(level, lists);
  } catch (const cuda::CudaError& e) {
    const py::gil_scoped_acquire gil;
    set_cuda_error(e);
    throw py::error_already_set();
  }
}

py::capsule level_linker(int device) {
  auto linker = std::make_unique<LevelLinker>(
      [device](const LevelToLink& level, std::uint32_t* lists) { link_on(device, level, lists); });
  const auto destroy = [](PyObject* capsule) {
    delete static_cast<LevelLinker*>(PyCapsule_GetPointer(capsule, kLinkerCapsule));
  };
  return py::capsule(linker.release(), kLinkerCapsule, destroy);
}

}  // namespace

void register_cuda_hnsw(py::module_& m) { m.def("level_linker", &level_linker, py::arg("device")); }

}  // namespace whimbrel::python
