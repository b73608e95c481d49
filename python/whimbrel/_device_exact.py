"""Exact search on CUDA devices: arguments to what the kernels take, outputs of the caller's kind."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._arrays import Float32, as_matrix, check_finite, into
from ._cuda_status import require_cuda
from ._device_arrays import DeviceArray, Place, is_device_array, place_of
from ._progress import Progress, reporter

__all__ = ["as_device", "pairwise_distances"]


class Rows(NamedTuple):
    """Vectors on a device: what the kernels take, and the array that must live until they are enqueued."""

    view: tuple[int, int, int, int]  # address, rows, columns, elements between rows
    owner: Any


def as_device(device: Any, *arrays: Any) -> int | None:
    """Return the device that a call with numpy arrays asks for; None for the CPU.

    Raises
    ------
    ValueError
        An unknown device, or "cpu" for an array that is on a CUDA device.
    CudaError
        If there is no such device.
    """
    if device is None or device == "cpu":
        if device == "cpu" and any(map(is_device_array, arrays)):
            raise ValueError("device: expected None or 'cuda' for arrays on a CUDA device, got 'cpu'")
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


def as_float_rows(name: str, values: Any, place: Place, dim: int | None = None) -> Rows:
    """Vectors on a device as float32 with adjacent elements, converted there if they are something else."""
    array, owner = place.describe(name, values)
    check_matrix(name, array, dim)
    if array.dtype != "float32" or not has_rows(array):
        owner = place.library.cast(owner, "float32")
        array = place.library.describe(owner)
    return Rows((array.pointer, array.shape[0], array.shape[1], array.strides[0]), owner)


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
    from . import _cuda

    place = place_of({"data": data, "queries": queries}, device)
    rows = as_float_rows("data", data, place)
    points = rows if queries is None else as_float_rows("queries", queries, place, rows.view[2])
    address, out = as_output("out", out, place, (points.view[1], rows.view[1]), "float32")
    if metric == "cosine":
        unit_rows = _unit_rows(rows, place)
        points = unit_rows if points is rows else _unit_rows(points, place)
        rows = unit_rows
    _cuda.pairwise_distances(rows.view, points.view, metric, address, place.device, place.stream)
    place.finish()
    return out


def _unit_rows(rows: Rows, place: Place) -> Rows:
    from . import _cuda

    _, n, d, _ = rows.view
    address, owner = as_output("", None, place, (n, d), "float32")
    _cuda.normalize(rows.view, address, place.device, place.stream)
    return Rows((address, n, d, d), owner)


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
