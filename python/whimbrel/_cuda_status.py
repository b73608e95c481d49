"""Whether CUDA can be used, and the error that says why not. The only place that first imports `_cuda`."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, TypeAlias

__all__ = ["CudaError", "Missing", "missing", "require_cuda", "version_text"]

Missing: TypeAlias = Literal["build", "driver", "device"]

# Numbers of cudaError_t.
INSUFFICIENT_DRIVER = 35
NO_DEVICE = 100


_found: list[bool] = []  # not empty: a device was there, and devices do not go


class CudaError(RuntimeError):
    """A CUDA call failed, or there is nothing to run it on.

    Attributes
    ----------
    code : int
        The number of the runtime's error (``cudaError_t``), 0 if it is none of its own.
    missing : {"build", "driver", "device"} or None
        What is not there: kernels in this build of the package, a driver that is new enough, or a device.
    """

    def __init__(self, message: str, code: int = 0, missing: Missing | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.missing = missing


CudaError.__module__ = "whimbrel"


def missing() -> CudaError | None:
    """Return what keeps CUDA from being used, as an error to raise; None if nothing does."""
    try:  # `from . import` would not say whether the module is absent or broken
        _cuda = import_module("._cuda", __package__)
    except ModuleNotFoundError:
        return CudaError(
            "build: expected a package with CUDA kernels, got one built without them; reinstall it where "
            "nvcc 13 is found, with WHIMBREL_CUDA=ON in the environment",
            missing="build",
        )
    code, text, count = _cuda.device_count()
    if code == 0 and count > 0:
        return None
    if code == INSUFFICIENT_DRIVER:
        driver, runtime = map(version_text, _cuda.versions())
        found = f"one for CUDA {driver}" if driver != "0.0" else "none"
        return CudaError(f"driver: expected one for CUDA {runtime} or later, got {found}", code, "driver")
    if code == NO_DEVICE:
        return CudaError(
            "device: expected at least one, got none (is CUDA_VISIBLE_DEVICES empty?)", code, "device"
        )
    return CudaError(f"device: expected a working one, got: {text}", code)


def require_cuda() -> None:
    """Raise `CudaError` unless there is a device to run on."""
    if not _found:
        error = missing()
        if error is not None:
            raise error
        _found.append(True)


def version_text(number: int) -> str:
    """Return a version of CUDA as people write it."""
    return f"{number // 1000}.{number % 1000 // 10}"
