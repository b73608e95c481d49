"""CUDA devices: what there is, and vectors that stay there. Importing this module touches none of them."""

from __future__ import annotations

from typing import NamedTuple

from ._arrays import as_int
from ._cuda_status import CudaError, missing, require_cuda, version_text
from .device_items import DeviceItems
from .device_matrix import DeviceKnnResult, DeviceMatrix

__all__ = [
    "CudaError",
    "DeviceInfo",
    "DeviceItems",
    "DeviceKnnResult",
    "DeviceMatrix",
    "device_count",
    "device_info",
    "is_available",
]


class DeviceInfo(NamedTuple):
    """One CUDA device.

    Attributes
    ----------
    name : str
    compute_capability : (int, int)
    multiprocessors : int
    memory_bytes, free_bytes : int
        Of the device, and what no process uses of it now.
    driver_version, runtime_version : str
        The newest CUDA that the driver runs, and the one in this package.
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    free_bytes: int
    driver_version: str
    runtime_version: str


def is_available() -> bool:
    """Whether the package has CUDA kernels and there is a device to run them on. Never raises."""
    return missing() is None


def device_count() -> int:
    """Return the number of devices; 0 without kernels, driver or device."""
    if missing() is not None:
        return 0
    from . import _cuda

    return _cuda.device_count()[2]


def device_info(device: int = 0) -> DeviceInfo:
    """Describe a device.

    Parameters
    ----------
    device : int
        Its number, as in ``"cuda:0"``.

    Returns
    -------
    DeviceInfo

    Raises
    ------
    CudaError
        If there is none; `missing` says whether kernels, driver or device are not there.
    ValueError
        No device of this number.
    """
    require_cuda()
    from . import _cuda

    device = as_int("device", device, 0, _cuda.device_count()[2] - 1)
    driver, runtime = map(version_text, _cuda.versions())
    return DeviceInfo(**_cuda.device_properties(device), driver_version=driver, runtime_version=runtime)
