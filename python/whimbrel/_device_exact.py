"""Exact search on CUDA devices: arguments to what the kernels take, outputs of the caller's kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._array_libraries import DeviceArray
from ._arrays import Float32, as_array, as_matrix, check_finite, into
from ._cuda_status import require_cuda
from ._device_arrays import Place, is_device_array, place_of
from ._progress import Callback, Progress, reporter

__all__ = [
    "MAX_K",
    "NATIVE_TYPES",
    "Rows",
    "as_device",
    "as_host_rows",
    "as_output",
    "as_rows",
    "pairwise_distances",
    "parse_device",
    "report",
    "unit_rows",
]

MAX_K = 1024  # neighbors that the kernels keep
NATIVE_TYPES = ("float32", "float16", "bfloat16", "int8")


class Rows(NamedTuple):
    """Vectors on a device: what the kernels take, and the array that must live until they are enqueued."""

    view: tuple[int, int, int, int]  # address, rows, columns, elements between rows
    dtype: str
    owner: Any


def parse_device(device: Any) -> int | None:
    """Return the number of a device by name; None for None or "cpu"."""
    if device is None or device == "cpu":
        return None
    name, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if name != "cuda" or not (number.isdecimal() or device == "cuda"):
        raise ValueError(f"device: expected None, 'cpu', 'cuda' or 'cuda:<number>', got {device!r}")
    require_cuda()
    from . import _cuda

    count = _cuda.device_count()[2]
    if int(number or 0) >= count:
        raise ValueError(f"device: expected cuda:0 to cuda:{count - 1}, got {device!r}")
    return int(number or 0)


def as_device(device: Any, *arrays: Any) -> int | None:
    """Return the device that a call with numpy arrays asks for; None for the CPU.

    Raises
    ------
    ValueError
        An unknown device, or "cpu" for an array that is on a CUDA device.
    CudaError
        If there is no device.
    """
    if device == "cpu" and any(map(is_device_array, arrays)):
        raise ValueError("device: expected None or 'cuda' for arrays on a CUDA device, got 'cpu'")
    return parse_device(device)


def report(callback: Callback | None, done: int, total: int) -> None:
    """Tell a callback; its False is an error, as in the core."""
    if callback is not None and callback(done, total) is False:
        raise _core.CancelledError("cancelled by the progress callback")


def as_rows(
    name: str,
    values: Any,
    place: Place,
    dtypes: tuple[str, ...] = ("float32",),
    dim: int | None = None,
) -> Rows:
    """Vectors on a device with adjacent elements of one of these types, else converted there to float32."""
    array, owner = place.describe(name, values)
    check_matrix(name, array, dim)
    if array.dtype not in dtypes or not has_rows(array):
        owner = place.library.cast(owner, array.dtype if array.dtype in dtypes else "float32")
        array = place.library.describe(owner)
    return Rows((array.pointer, array.shape[0], array.shape[1], array.strides[0]), array.dtype, owner)


def as_host_rows(name: str, values: Any, dim: int | None = None) -> NDArray[Any]:
    """Vectors in host memory, in C order and of a type that kernels read."""
    array = as_array(name, values)
    if array.dtype.name not in NATIVE_TYPES:
        return as_matrix(name, array, dim)
    if array.ndim != 2 or array.shape[1] == 0 or dim not in (None, array.shape[1]):
        raise ValueError(f"{name}: expected shape (n, {dim or 'd'}), got {array.shape}")
    return np.ascontiguousarray(array)


def check_matrix(name: str, array: DeviceArray, dim: int | None = None) -> None:
    """Raise an error unless this is a matrix of real numbers with `dim` columns."""
    if not array.dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
    if len(array.shape) != 2 or array.shape[1] == 0 or dim not in (None, array.shape[1]):
        raise ValueError(f"{name}: expected shape (n, {dim or 'd'}), got {array.shape}")
    if not array.aligned:
        raise ValueError(f"{name}: expected elements at multiples of their size, got address {array.pointer}")


def has_rows(array: DeviceArray) -> bool:
    """Whether a matrix is a MatrixView: adjacent elements, rows a fixed distance apart."""
    (n, d), (row_step, step) = array.shape, array.strides
    return (step == 1 or d == 1) and (row_step >= d or n <= 1)


def as_output(name: str, out: Any, place: Place, shape: tuple[int, ...], dtype: str) -> tuple[int, Any]:
    """Return the address of an output and the array itself: `out` if given, else a new one."""
    if out is None:
        out = place.empty(shape, dtype)
        return place.library.describe(out).pointer, out
    array, _ = place.describe(name, out)
    if array.shape != shape or array.dtype != dtype or not array.contiguous or not array.aligned:
        raise ValueError(
            f"{name}: expected a {dtype} array of shape {shape} in C order, got {array.dtype} of shape "
            f"{array.shape} with strides {array.strides}"
        )
    return array.pointer, out


def pairwise_distances(
    data: Any, queries: Any, metric: str, device: int | None, out: Any, progress: Progress
) -> Any:
    """See whimbrel.pairwise_distances; `device` for numpy arrays."""
    if device is not None and not (is_device_array(data) or is_device_array(queries)):
        return into(out, _host_pairwise_distances(data, queries, metric, device, progress))
    place = place_of({"data": data, "queries": queries}, device)
    from . import _cuda

    rows = as_rows("data", data, place)
    points = rows if queries is None else as_rows("queries", queries, place, dim=rows.view[2])
    address, out = as_output("out", out, place, (points.view[1], rows.view[1]), "float32")
    if metric == "cosine":
        units = unit_rows(rows, place)
        points = units if points is rows else unit_rows(points, place)
        rows = units
    _cuda.pairwise_distances(rows.view, points.view, metric, address, place.device, place.stream)
    place.finish()
    return out


def unit_rows(rows: Rows, place: Place) -> Rows:
    """Rows scaled to unit length, in new memory."""
    from . import _cuda

    _, n, d, _ = rows.view
    address, owner = as_output("", None, place, (n, d), "float32")
    _cuda.normalize(rows.view, address, place.device, place.stream)
    return Rows((address, n, d, d), "float32", owner)


def _host_pairwise_distances(
    data: Any, queries: Any, metric: str, device: int, progress: Progress
) -> Float32:
    from . import _cuda

    rows = as_matrix("data", data)
    points = rows if queries is None else as_matrix("queries", queries, rows.shape[1])
    check_finite("data", rows)
    check_finite("queries", points)
    with reporter(progress, "distances") as callback:
        return _cuda.host_pairwise_distances(rows, points, metric, device, callback)
