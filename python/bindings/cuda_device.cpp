// What devices there are.
#include "cuda_module.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda_arrays.hpp"
#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::python {
namespace {

/// Status of the runtime, its description, and the number of devices. Never throws: a missing driver is an
/// answer.
py::tuple device_count() {
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // a failure here must not be found by a later call
  if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
  return py::make_tuple(static_cast<int>(status), cudaGetErrorString(status), count);
}

/// Versions of the driver (0: none) and of the runtime in this module, as 1000 * major + 10 * minor.
py::tuple versions() {
  int driver = 0, runtime = 0;
  cuda::check(cudaDriverGetVersion(&driver), "driver version");
  cuda::check(cudaRuntimeGetVersion(&runtime), "runtime version");
  return py::make_tuple(driver, runtime);
}

py::dict device_properties(int device) {
  const DeviceGuard guard(device);
  cudaDeviceProp properties = {};
  std::size_t free = 0, total = 0;
  cuda::check(cudaGetDeviceProperties(&properties, device), "device properties");
  cuda::check(cudaMemGetInfo(&free, &total), "device memory");
  py::dict out;
  out["name"] = properties.name;
  out["compute_capability"] = py::make_tuple(properties.major, properties.minor);
  out["multiprocessors"] = properties.multiProcessorCount;
  out["memory_bytes"] = total;
  out["free_bytes"] = free;
  return out;
}

void synchronize(std::uintptr_t stream, int device) {
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(cudaStreamSynchronize(as_stream(stream)), "synchronize");
}

}  // namespace

void register_cuda_device(py::module_& m) {
  m.def("device_count", &device_count, "Status, its description, number of devices.");
  m.def("versions", &versions, "See whimbrel.cuda.device_info.");
  m.def("device_properties", &device_properties, py::arg("device"), "See whimbrel.cuda.device_info.");
  m.def("synchronize", &synchronize, py::arg("stream"), py::arg("device"), "Wait for a stream.");
}

}  // namespace whimbrel::python
