"""Exact neighbors and distances: the oracle for every approximation, and the input of LID estimation."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from . import _core, _device_exact, _device_knn
from ._arrays import METRICS, Float32, Int64, as_choice, as_int, as_matrix, as_threads, into
from ._device_arrays import is_device_array
from ._device_exact import as_device
from ._progress import Progress, reporter
from .device_matrix import DeviceMatrix

__all__ = ["KnnResult", "knn", "pairwise_distances"]

MAX_K = 2**31 - 1


class KnnResult(NamedTuple):
    """Neighbors of each query, nearest first.

    Attributes
    ----------
    ids : (q, k) int64
        Row numbers of `data`; -1 where there are fewer than `k`.
    distances : (q, k) float32
        In the units of the metric, smaller is nearer; +inf beside -1.
    """

    ids: Int64
    distances: Float32


def knn(
    data: ArrayLike | DeviceMatrix,
    queries: ArrayLike | None = None,
    k: int = 10,
    metric: str = "l2",
    *,
    device: str | None = None,
    out: tuple[Any, Any] | None = None,
    threads: int = 0,
    progress: Progress = False,
) -> KnnResult:
    """Find the exact `k` nearest rows of `data` for each query.

    Parameters
    ----------
    data : (n, d) array_like of float32, or DeviceMatrix
        Base vectors; other real dtypes are converted. Must be finite. CuPy arrays and torch tensors on a CUDA
        device are searched there; to search in them repeatedly, make a `whimbrel.cuda.DeviceMatrix` once.
    queries : (q, d) array_like of float32, optional
        If None, each row of `data` is a query and its own entry is left out (by row number: exact
        duplicates of a row are its neighbors at distance 0).
    k : int
        Neighbors per query, at least 1. More than there are: the rest is id -1, distance +inf.
    metric : {"l2", "ip", "cosine"}
        Squared Euclidean distance; negated inner product; 1 - cosine, where a zero vector is at
        distance 1 from everything.
    device : {None, "cpu", "cuda", "cuda:<number>"}
        Where numpy arrays are searched. None: the CPU. Data larger than the device go through it in parts.
    out : (ids, distances), optional
        Arrays of the shapes, types and kind of the result, in C order: written to and returned.
    threads : int
        Worker threads of the CPU; 0 uses all. Does not change the result.
    progress : bool or callable
        True shows a bar (tqdm, if installed) or lines on stderr. A callable gets ``(done, total)`` in
        queries, and cancels by raising or by returning False.

    Returns
    -------
    KnnResult
        `ids` (q, k) int64 and `distances` (q, k) float32. Equal distances are ordered by row number. Of
        arrays on a device: arrays of the same kind, on its library's current stream.

    Raises
    ------
    ValueError
        Wrong shapes, non-finite values, ``k < 1`` or an unknown metric. Queries on a device are not
        checked: where they are not finite, ids are -1 and distances NaN.
    TypeError
        Arrays that do not hold real numbers, or some on a device and some not.
    CudaError
        If there is no device, if this build of the package has no kernels, or out of device memory.
    CancelledError
        If the callback returned False.

    Notes
    -----
    Costs ``n * q * d`` multiply-adds. Results have the same bits for any number of threads, any CPU
    instruction set and any device. Safe to call from several threads; the GIL is released, and Ctrl-C works.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> data = np.array([[0, 0], [1, 0], [0, 2], [5, 5]])
    >>> wb.knn(data, [[0.9, 0.1]], k=2).ids
    array([[1, 0]])
    >>> wb.knn(data, k=2).distances
    array([[ 1.,  4.],
           [ 1.,  5.],
           [ 4.,  5.],
           [34., 41.]], dtype=float32)
    """
    metric = as_choice("metric", metric, METRICS)
    k = as_int("k", k, 1, MAX_K)
    threads = as_threads(threads)
    place = as_device(device, data, queries)
    if any(isinstance(x, DeviceMatrix) or is_device_array(x) for x in (data, queries)):
        return KnnResult(*_device_knn.knn(data, queries, k, metric, out))
    if place is not None:
        found = _device_knn.host_knn(data, queries, k, metric, place, progress)
    else:
        assert not isinstance(data, DeviceMatrix)
        rows = as_matrix("data", data)
        points = None if queries is None else as_matrix("queries", queries, rows.shape[1])
        with reporter(progress, "neighbors") as callback:
            if points is None:
                found = _core.knn_self(rows, k, metric, threads, callback)
            else:
                found = _core.knn(rows, points, k, metric, threads, callback)
    ids, distances = out if out is not None else (None, None)
    return KnnResult(into(ids, found[0]), into(distances, found[1]))


def pairwise_distances(
    data: ArrayLike,
    queries: ArrayLike | None = None,
    metric: str = "l2",
    *,
    device: str | None = None,
    out: Any = None,
    threads: int = 0,
    progress: Progress = False,
) -> Float32:
    """Compute the distance of every query to every row of `data`.

    Parameters
    ----------
    data : (n, d) array_like of float32
        Other real dtypes are converted. CuPy arrays and torch tensors on a CUDA device are used there.
    queries : (q, d) array_like of float32, optional
        On the same device as `data`. If None, the rows of `data`.
    metric : {"l2", "ip", "cosine"}
        As in `knn`.
    device : {None, "cpu", "cuda", "cuda:<number>"}
        Where numpy arrays are worked on. None: the CPU.
    out : array, optional
        (q, n) float32 in C order and of the kind of the result: written to and returned.
    threads : int
        Worker threads of the CPU; 0 uses all. Does not change the result.
    progress : bool or callable
        As in `knn`, for numpy arrays.

    Returns
    -------
    (q, n) float32
        A numpy array; of arrays on a device an array of the same kind, enqueued on its library's current
        stream.

    Raises
    ------
    ValueError
        Wrong shapes, an unknown metric, arrays on different devices, or, on the CPU, non-finite values.
    TypeError
        Arrays that do not hold real numbers, or some on a device and some not.
    CudaError
        If there is no device, or none that this build of the package has kernels for; if it is out of
        memory.
    CancelledError
        If the callback returned False.

    Notes
    -----
    Distances have the same bits on every device, for any number of threads and any CPU instruction set.

    Examples
    --------
    >>> import whimbrel as wb
    >>> wb.pairwise_distances([[0, 0], [3, 4]], [[0, 0], [0, 4]])
    array([[ 0., 25.],
           [16.,  9.]], dtype=float32)
    """
    metric = as_choice("metric", metric, METRICS)
    threads = as_threads(threads)
    place = as_device(device, data, queries)
    if place is not None or is_device_array(data) or is_device_array(queries):
        found: Float32 = _device_exact.pairwise_distances(data, queries, metric, place, out, progress)
        return found
    rows = as_matrix("data", data)
    points = rows if queries is None else as_matrix("queries", queries, rows.shape[1])
    with reporter(progress, "distances") as callback:
        return into(out, _core.pairwise_distances(rows, points, metric, threads, callback))
