"""knn and estimate_lid on CUDA devices, for single calls: data prepared, searched and forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _device_tiles
from ._arrays import Float32, Int64, as_matrix, check_finite
from ._device_arrays import Place, place_of
from ._device_exact import MAX_K, as_host_rows, as_output, as_rows, report, unit_rows
from ._progress import Callback, Progress, reporter
from .device_matrix import CHUNK_ROWS, WORKSPACE_BYTES, DeviceMatrix

__all__ = ["device_lid", "host_knn", "knn"]


def knn(data: Any, queries: Any, k: int, metric: str, out: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """See whimbrel.knn, for arrays on a device or a DeviceMatrix."""
    if isinstance(data, DeviceMatrix):
        if metric != data.metric:
            raise ValueError(f"metric: expected that of data, {data.metric!r}, got {metric!r}")
        return data.search(queries, k, out=out)[:2]
    place = place_of({"data": data, "queries": queries})
    place.describe("data", data)  # a host array beside one on a device is not moved in silence
    if queries is not None:
        place.describe("queries", queries)
    if k > MAX_K:
        return _materialized(data, queries, k, metric, out, place)
    ids, distances, _ = DeviceMatrix(data, metric).search(queries, k, out=out)
    place.wait()  # the prepared rows go away with this call
    return ids, distances


def _materialized(
    data: Any, queries: Any, k: int, metric: str, out: tuple[Any, Any] | None, place: Place
) -> tuple[Any, Any]:
    """Neighbors by tiles of distances: for k that the kernels do not keep."""
    shape = (len(data if queries is None else queries), k)
    ids_out, distances_out = out if out is not None else (None, None)
    ids = as_output("out[0]", ids_out, place, shape, "int64")[1]
    distances = as_output("out[1]", distances_out, place, shape, "float32")[1]
    if metric == "cosine":
        data = unit_rows(as_rows("data", data, place), place).owner
        if queries is not None:
            queries = unit_rows(as_rows("queries", queries, place, dim=data.shape[1]), place).owner
    _device_tiles.knn(data, queries, k, "ip" if metric == "cosine" else metric, ids, distances, place)
    if metric == "cosine":
        distances += 1
    return ids, distances


def host_knn(
    data: Any, queries: Any, k: int, metric: str, device: int, progress: Progress
) -> tuple[Int64, Float32]:
    """See whimbrel.knn, for numpy arrays: the data go through the device in segments that fit into it."""
    rows = as_host_rows("data", data)
    points = rows if queries is None else as_host_rows("queries", queries, rows.shape[1])
    check_finite("data", rows)
    check_finite("queries", points)
    segment = segment_rows(rows, metric, device)
    if metric == "cosine" and (k > MAX_K or segment < len(rows)):
        # Sorted by the products of unit rows: adding 1 makes ties that they do not have.
        units = unit_host_rows(rows, device)
        unit_queries = None if queries is None else unit_host_rows(points, device)
        ids, distances = host_knn(units, unit_queries, k, "ip", device, progress)
        return ids, distances + np.float32(1)
    with reporter(progress, "neighbors") as callback:
        if k > MAX_K:
            given = None if queries is None else points
            return _device_tiles.host_knn(rows, given, k, metric, device, callback)
        return _by_segments(rows, points, queries is None, k, metric, device, segment, callback)


def _by_segments(
    rows: NDArray[Any], points: NDArray[Any], own: bool, k: int, metric: str, device: int, segment: int,
    callback: Callback | None,
) -> tuple[Int64, Float32]:  # fmt: skip
    from . import _cuda

    n, q = len(rows), len(points)
    ids = np.full((q, k), -1, np.int64)
    distances = np.full((q, k), np.inf, np.float32)
    # Without queries, a chunk of them must not cross the border of a segment: it either lies in the one that
    # is searched, or outside.
    steps = [
        (a, s, min(s + CHUNK_ROWS, (s // segment + 1) * segment, q))
        for a in range(0, n, segment)
        for s in _starts(q, segment)
    ]
    matrix, held = None, -1
    for number, (a, s, e) in enumerate(steps):
        if a != held:
            matrix = None  # frees its memory first
            matrix = _cuda.DeviceMatrix.upload(rows[a : a + segment], metric, device)
            held = a
        assert matrix is not None
        if own and a <= s < a + segment:
            found = matrix.host_knn_self(e - s, k, True, "others", s - a, WORKSPACE_BYTES)
        else:
            found = matrix.host_knn(points[s:e], k, True, "all", 0, WORKSPACE_BYTES)
        merge(ids[s:e], distances[s:e], found[0], found[1], a)
        report(callback, (number + 1) * q // len(steps), q)
    return ids, distances


def unit_host_rows(rows: NDArray[Any], device: int) -> Float32:
    """Rows of unit length, float32."""
    from . import _cuda

    return _cuda.host_normalize(as_matrix("data", rows), device)


def _starts(q: int, segment: int) -> list[int]:
    """First queries of the chunks."""
    return [s for a in range(0, q, segment) for s in range(a, min(a + segment, q), CHUNK_ROWS)]


def segment_rows(rows: NDArray[Any], metric: str, device: int) -> int:
    """How many rows fit into the device, prepared and beside the workspace of a search."""
    from . import _cuda

    n, d = rows.shape
    row_bytes = d * rows.itemsize + 2 * (-(-d // 64) * 64) + (12 if metric == "cosine" else 4)
    free = _cuda.device_properties(device)["free_bytes"]
    return int(max(1024, min(n, (0.9 * free - 1.5 * WORKSPACE_BYTES) // row_bytes)))


def merge(ids: Int64, distances: Float32, new_ids: Int64, new_distances: Float32, first: int) -> None:
    """Keep the nearest of two lists per query, the second with larger row numbers that start at `first`."""
    k = ids.shape[1]
    both_ids = np.concatenate((ids, np.where(new_ids < 0, -1, new_ids + first)), axis=1)
    both = np.concatenate((distances, new_distances), axis=1)
    order = np.argsort(both, axis=1, kind="stable")[:, :k]  # equal distances: the smaller row number first
    ids[...] = np.take_along_axis(both_ids, order, axis=1)
    distances[...] = np.take_along_axis(both, order, axis=1)


def device_lid(data: Any, k: int, distances: Any, metric: str, estimator: str) -> Any:
    """See whimbrel.estimate_lid, from vectors or from distances on a device; rows that are wrong give NaN."""
    if distances is None:
        n = place_of({"data": data}).describe("data", data)[0].shape[0]
        distances = knn(data, None, max(1, min(k, n - 1)), metric, None)[1]
    place = place_of({"neighbors": distances})
    from . import _cuda

    array, distances = place.describe("neighbors", distances)
    if len(array.shape) != 2:
        raise ValueError(f"neighbors: expected shape (n, k), got {array.shape}")
    if metric == "cosine":  # |a - b|^2 = 2 (1 - cos); what rounding left below zero becomes zero
        distances = abs(distances) + distances
    rows = as_rows("neighbors", distances[:, :k], place)
    address, out = as_output("", None, place, (rows.view[1],), "float64")
    _cuda.estimate_lid(rows.view, True, estimator, address, place.device, place.stream)
    place.finish()
    return out
