// How a long call looks up from its work: signals first, then the caller's callback.
#pragma once

#include "module.hpp"

#include <cstddef>
#include <stdexcept>

#include "whimbrel/progress.hpp"

namespace whimbrel::python {

/// A progress callback returned False.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled by the progress callback") {}
};

/// Installed by every long call, with a callback or without, so that Ctrl-C always works. The core runs it in
/// the calling thread, which has released the GIL. The callback is borrowed: a copy of the function, made
/// without the GIL, must not touch a reference count.
inline ProgressFn make_progress(py::handle callback) {
  return [callback](std::size_t done, std::size_t total) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (callback.is_none()) return;
    const py::object answer = callback(done, total);
    if (answer.ptr() == Py_False) throw Cancelled();
  };
}

}  // namespace whimbrel::python
