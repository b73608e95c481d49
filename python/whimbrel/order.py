"""Orders in which to insert points into a graph: permutations, whose i-th value is inserted i-th."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import (
    METRICS,
    Int64,
    as_choice,
    as_int,
    as_int_vector,
    as_matrix,
    as_values,
    normalized,
)
from ._progress import Progress
from ._vector_dtype import Vectors
from .lid import distance_to_mean, estimate_lid

__all__ = ["ORDERS", "insertion_order", "named_order"]

#: Names that `named_order` and `HnswIndex` know.
ORDERS = (
    "given",
    "random",
    "lid_descending",
    "lid_ascending",
    "mean_distance_descending",
    "category",
)
LID_K = 100
MAX_SEED = 2**64 - 1


def insertion_order(values: ArrayLike, descending: bool = True) -> Int64:
    """Order points by a value of each: its LID, its distance to the mean, anything.

    Parameters
    ----------
    values : (n,) array_like of float64
        May be infinite, not NaN.
    descending : bool
        Largest first.

    Returns
    -------
    (n,) int64
        A permutation. Equal values keep their positions.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional or has a NaN.

    Examples
    --------
    >>> import whimbrel as wb
    >>> wb.insertion_order([3.0, 9.0, 3.0, 1.0])
    array([1, 0, 2, 3])
    """
    return _core.order_by_value(as_values("values", values), bool(descending))


def named_order(
    data: ArrayLike,
    order: str,
    *,
    labels: ArrayLike | None = None,
    seed: int = 0,
    metric: str = "l2",
    threads: int = 0,
    progress: Progress = False,
) -> Int64:
    """Compute the permutation that a name stands for, as `HnswIndex.build` does.

    Parameters
    ----------
    data : (n, d) array_like of float32
    order : str
        - ``"given"``: as they come.
        - ``"random"``: a pure function of `seed` and n.
        - ``"lid_descending"``, ``"lid_ascending"``: by `estimate_lid` with ``k = min(100, n - 1)``; costs an
          exact search of all points.
        - ``"mean_distance_descending"``: by `distance_to_mean`, farthest first; nearly free.
        - ``"category"``: by `labels`, ascending, in random order within one label.
    labels : (n,) array_like, optional
        Numbers or strings; needed by ``"category"`` and by nothing else.
    seed : int
        For ``"random"`` and ``"category"``.
    metric : {"l2", "ip", "cosine"}
        What the index will use. With "cosine" the values are those of the normalized vectors; with "ip", an
        inner product not being a distance, those of "l2".
    threads : int
        Worker threads; 0 uses all. Does not change the result.
    progress : bool or callable
        As in `knn`; for the LID orders.

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> import whimbrel as wb
    >>> data = [[0, 0], [1, 0], [0, 9], [1, 1]]
    >>> wb.named_order(data, "mean_distance_descending")
    array([2, 0, 1, 3])
    >>> wb.named_order(data, "category", labels=["b", "a", "c", "a"])[2:]
    array([0, 2])
    """
    rows = as_matrix("data", data)
    as_choice("order", order, ORDERS)
    as_choice("metric", metric, METRICS)
    seed = as_int("seed", seed, 0, MAX_SEED)
    if (labels is not None) != (order == "category"):
        raise ValueError(
            "labels: expected with order='category' and only there, got "
            + (f"them with {order!r}" if labels is not None else "None")
        )
    n = len(rows)
    if order == "given":
        return np.arange(n)
    if order == "random":
        return _core.random_order(n, seed)
    if order == "category":
        return _core.order_by_category(_codes(labels, n), seed)
    if order == "mean_distance_descending":
        points = normalized(rows) if metric == "cosine" else rows
        return insertion_order(distance_to_mean(points, threads=threads))
    lid = estimate_lid(
        rows, LID_K, metric="cosine" if metric == "cosine" else "l2", threads=threads, progress=progress
    )
    return insertion_order(lid, descending=order == "lid_descending")


def resolve_order(
    order: str | ArrayLike, rows: Vectors, labels: ArrayLike | None, options: dict[str, Any]
) -> tuple[str, Int64 | None]:
    """Return the name and the permutation for an `order` argument; no permutation for the given order."""
    if isinstance(order, str):
        if order == "given" and labels is None:
            return order, None
        return order, named_order(rows, order, labels=labels, **options)
    if labels is not None:
        raise ValueError("labels: expected with order='category' and only there, got them with a permutation")
    permutation = as_int_vector("order", order)
    if len(permutation) != len(rows):  # the core takes an empty one for the given order
        raise ValueError(f"order: expected {len(rows)} values, got {len(permutation)}")
    return "permutation", permutation


def _codes(labels: ArrayLike | None, n: int) -> Int64:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels: expected shape ({n},), got {array.shape}")
    if array.dtype.kind not in "biufUS":
        raise TypeError(f"labels: expected numbers or strings, got dtype {array.dtype}")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)
