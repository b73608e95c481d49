// The device's part of choosing anchor items: passes over the items that the core calls.
#include "cuda_module.hpp"

#include <memory>
#include <optional>
#include <utility>

#include "cuda_arrays.hpp"
#include "names.hpp"
#include "whimbrel/cuda/cur_greedy.hpp"
#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::python {
namespace {

/// Called by the other module, without the GIL. That module does not know CudaError, so it leaves as an error
/// of Python.
class PassesOn final : public GreedyPasses {
 public:
  explicit PassesOn(int device) : device_(device) {}

  void start(const GreedyStart& start) override {
    call([&] {
      if (!passes_) passes_.emplace(stream_.emplace());
      passes_->start(start);
    });
  }
  void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) override {
    call([&] { passes_->deflate(x, w, g, xw); });
  }
  void block(std::size_t item) override {
    call([&] { passes_->block(item); });
  }
  std::size_t best() override {
    std::size_t item = 0;
    call([&] { item = passes_->best(); });
    return item;
  }

 private:
  template <class Fn>
  void call(const Fn& fn) {
    try {
      const DeviceGuard guard(device_);
      fn();
    } catch (const cuda::CudaError& e) {
      const py::gil_scoped_acquire gil;
      set_cuda_error(e);
      throw py::error_already_set();
    }
  }

  int device_;
  std::optional<Stream> stream_;
  std::optional<cuda::CurGreedy> passes_;
};

py::capsule greedy_passes(int device) {
  std::unique_ptr<GreedyPasses> passes = std::make_unique<PassesOn>(device);
  const auto destroy = [](PyObject* capsule) {
    delete static_cast<GreedyPasses*>(PyCapsule_GetPointer(capsule, kPassesCapsule));
  };
  return py::capsule(passes.release(), kPassesCapsule, destroy);
}

}  // namespace

void register_cuda_cur(py::module_& m) { m.def("greedy_passes", &greedy_passes, py::arg("device")); }

}  // namespace whimbrel::python
