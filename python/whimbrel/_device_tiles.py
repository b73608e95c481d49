"""Exact search for more neighbors than the kernels keep: all distances of some queries at a time, sorted.

Costs a sort of n numbers a query, and memory for a tile of distances and twice as much for their order. Not
for cosine: its order is that of the products of unit rows, and adding 1 makes ties that they do not have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Float32, Int64
from ._device_arrays import Place
from ._device_exact import pairwise_distances, report
from ._progress import Callback

__all__ = ["host_knn", "knn"]

TILE_BYTES = 2**28


def knn(data: Any, queries: Any, k: int, metric: str, ids: Any, distances: Any, place: Place) -> None:
    """Fill (q, k) outputs on a device. Without queries each row is one, and leaves itself out."""
    n = len(data)
    points = data if queries is None else queries
    for first, last in _tiles(len(points), n):
        tile = pairwise_distances(data, points[first:last], metric, None, None, False)
        if queries is None:
            _leave_out_own(tile, first, last)
        values, order = place.library.sort_rows(tile)
        _write(values[:, :k], order[:, :k], ids[first:last], distances[first:last])


def host_knn(
    data: Float32,
    queries: Float32 | None,
    k: int,
    metric: str,
    device: int,
    callback: Callback | None,
) -> tuple[Int64, Float32]:
    """Return (q, k) ids and distances of numpy arrays, whose distances a device computes."""
    points = data if queries is None else queries
    ids = np.empty((len(points), k), np.int64)
    distances = np.empty((len(points), k), np.float32)
    for first, last in _tiles(len(points), len(data)):
        tile = pairwise_distances(data, points[first:last], metric, device, None, False)
        if queries is None:
            _leave_out_own(tile, first, last)
        order = np.argsort(tile, axis=1, kind="stable")[:, :k]
        _write(np.take_along_axis(tile, order, 1), order, ids[first:last], distances[first:last])
        report(callback, last, len(points))
    return ids, distances


def _tiles(n_queries: int, n_rows: int) -> list[tuple[int, int]]:
    step = max(1, TILE_BYTES // (4 * max(1, n_rows)))
    return [(first, min(first + step, n_queries)) for first in range(0, n_queries, step)]


def _leave_out_own(tile: Any, first: int, last: int) -> None:
    tile[list(range(last - first)), list(range(first, last))] = np.inf


def _write(values: Any, order: Any, ids: Any, distances: Any) -> None:
    """Copy sorted neighbors; what is infinitely far is missing."""
    found = values.shape[1]
    order[values == np.inf] = -1
    ids[:, :found], ids[:, found:] = order, -1
    distances[:, :found], distances[:, found:] = values + 0.0, np.inf  # -0 becomes 0
