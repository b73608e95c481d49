"""Exact nearest neighbors: the oracle for every approximation, and the input of LID estimation."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from . import _core
from ._arrays import METRICS, Float32, Int64, as_choice, as_int, as_matrix, as_threads
from ._progress import Progress, reporter

__all__ = ["KnnResult", "knn"]

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
    data: ArrayLike,
    queries: ArrayLike | None = None,
    k: int = 10,
    metric: str = "l2",
    *,
    threads: int = 0,
    progress: Progress = False,
) -> KnnResult:
    """Find the exact `k` nearest rows of `data` for each query.

    Parameters
    ----------
    data : (n, d) array_like of float32
        Base vectors; other real dtypes are converted. Must be finite.
    queries : (q, d) array_like of float32, optional
        If None, each row of `data` is a query and its own entry is left out (by row number: exact
        duplicates of a row are its neighbors at distance 0).
    k : int
        Neighbors per query, at least 1. More than there are: the rest is id -1, distance +inf.
    metric : {"l2", "ip", "cosine"}
        Squared Euclidean distance; negated inner product; 1 - cosine, where a zero vector is at
        distance 1 from everything.
    threads : int
        Worker threads; 0 uses all. Does not change the result.
    progress : bool or callable
        True shows a bar (tqdm, if installed) or lines on stderr. A callable gets ``(done, total)`` in
        queries, and cancels by raising or by returning False.

    Returns
    -------
    KnnResult
        `ids` (q, k) int64 and `distances` (q, k) float32. Equal distances are ordered by row number.

    Raises
    ------
    ValueError
        Wrong shapes, non-finite values, ``k < 1`` or an unknown metric.
    TypeError
        Arrays that do not hold real numbers, or that live on a GPU.
    CancelledError
        If the callback returned False.

    Notes
    -----
    Costs ``n * q * d`` multiply-adds. Results have the same bits for any number of threads and any CPU
    instruction set. Safe to call from several threads; the GIL is released, and Ctrl-C works.

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
    rows = as_matrix("data", data)
    metric = as_choice("metric", metric, METRICS)
    k = as_int("k", k, 1, MAX_K)
    threads = as_threads(threads)
    if queries is None:
        with reporter(progress, "neighbors") as callback:
            return KnnResult(*_core.knn_self(rows, k, metric, threads, callback))
    points = as_matrix("queries", queries, rows.shape[1])
    with reporter(progress, "neighbors") as callback:
        return KnnResult(*_core.knn(rows, points, k, metric, threads, callback))
