"""Local intrinsic dimensionality (LID): how many directions the data vary in, near each point."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import _core, _device_knn
from ._arrays import Float32, Float64, as_choice, as_distances, as_int, as_matrix, as_threads
from ._device_arrays import is_device_array
from ._device_exact import as_device
from ._progress import Progress, reporter

__all__ = ["distance_to_mean", "estimate_lid"]

ESTIMATORS = ("mle", "levina_bickel", "unbiased", "mom")
# An inner product is not a distance: for "ip", take the LID of the same vectors under "l2" or "cosine".
LID_METRICS = ("l2", "cosine")
MAX_LID_K = 100_000


def estimate_lid(
    data: ArrayLike | None = None,
    k: int = 100,
    *,
    neighbors: tuple[ArrayLike, ArrayLike] | None = None,
    metric: str = "l2",
    estimator: str = "mle",
    device: str | None = None,
    threads: int = 0,
    progress: Progress = False,
) -> Float64:
    """Estimate the local intrinsic dimensionality of each point from its `k` nearest neighbors.

    Parameters
    ----------
    data : (n, d) array_like of float32, optional
        The points. Their exact neighbors are computed first. Give either `data` or `neighbors`. CuPy arrays
        and torch tensors on a CUDA device are worked on there (`k` at most 1024).
    k : int
        Neighbors used per point, at least 2; what there are if there are fewer. 100 is the value of [2]_;
        one estimate then has about ``1 / sqrt(k)`` = 10 % noise.
    neighbors : (ids, distances), optional
        What ``knn(data, k=k, metric=metric)`` returned: `distances` (n, m) ascending, without the point
        itself, as that metric gives them. The first `k` columns are used, `ids` not at all.
    metric : {"l2", "cosine"}
        The metric of the distances. They are turned into true Euclidean distances (for "cosine", of the
        normalized vectors), since squared ones would halve the estimate.
    estimator : {"mle", "levina_bickel", "unbiased", "mom"}
        With ``S = sum(log(r_k / r_i))``: ``k / S`` [1]_; ``(k - 1) / S`` [3]_; ``(k - 2) / S``, whose mean
        is d on a uniform d-ball; the method of moments ``mean(r) / (r_k - mean(r))`` [1]_. The first three
        sort the points in the same order.
    device : {None, "cpu", "cuda", "cuda:<number>"}
        Where the neighbors of numpy arrays are computed. None: the CPU.
    threads : int
        Worker threads of the CPU; 0 uses all. Does not change the result.
    progress : bool or callable
        As in `knn`.

    Returns
    -------
    (n,) float64
        Between 0 and 1e4. Zero distances (exact duplicates) are left out, and `k` reduced accordingly: a
        point with fewer than 2 distinct neighbors gets 0. Where all neighbors are equally far the
        formulas give infinity, and the value is 1e4. Of arrays on a device an array of their kind, whose
        values may differ from those of the CPU in the last places (the logarithm is the device's); rows
        that would be an error on the CPU are NaN.

    Raises
    ------
    ValueError
        Wrong shapes, non-finite values, ``k < 2``, an unknown metric or estimator, distances that are
        negative or not ascending, or both or neither of `data` and `neighbors`.

    References
    ----------
    .. [1] Amsaleg et al., "Estimating local intrinsic dimensionality", KDD 2015.
    .. [2] Elliott and Clark, "The impacts of data, ordering, and intrinsic dimensionality on recall in
       hierarchical navigable small worlds", ICTIR 2024.
    .. [3] Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", NIPS 2004.

    Examples
    --------
    Points of a plane that is embedded in 20 dimensions:

    >>> import numpy as np
    >>> import whimbrel as wb
    >>> plane = np.random.default_rng(0).random((2000, 2)) @ np.eye(2, 20)
    >>> round(float(np.median(wb.estimate_lid(plane, k=50))), 1)
    2.0
    """
    as_choice("metric", metric, LID_METRICS)
    as_choice("estimator", estimator, ESTIMATORS)
    k = as_int("k", k, 2, MAX_LID_K)
    if (data is None) == (neighbors is None):
        raise ValueError(
            "data, neighbors: expected exactly one of them, got " + ("neither" if data is None else "both")
        )
    given = _distances_of(neighbors) if neighbors is not None else None
    place = as_device(device, data, given)
    if is_device_array(data) or is_device_array(given):
        on_device: Float64 = _device_knn.device_lid(data, k, given, metric, estimator)
        return on_device
    if given is not None:
        distances = as_distances("neighbors", given)[:, :k]
    else:
        rows = as_matrix("data", data if data is not None else ())
        k = max(1, min(k, len(rows) - 1))
        if place is not None:
            distances = _device_knn.host_knn(rows, None, k, metric, place, progress)[1]
        else:
            with reporter(progress, "neighbors") as callback:
                distances = _core.knn_self(rows, k, metric, as_threads(threads), callback)[1]
    return _core.estimate_lid(euclidean(distances, metric), estimator)


def distance_to_mean(data: ArrayLike, *, threads: int = 0) -> Float64:
    """Squared Euclidean distance of each row to the mean row.

    Sorting by it costs ``n * d`` operations where LID costs ``n * n * d``, and often does the same for a
    graph.

    Parameters
    ----------
    data : (n, d) array_like of float32
    threads : int
        Worker threads; 0 uses all. Does not change the result.

    Returns
    -------
    (n,) float64

    Raises
    ------
    ValueError
        Wrong shape or non-finite values.

    Examples
    --------
    >>> import whimbrel as wb
    >>> wb.distance_to_mean([[0, 0], [2, 0], [1, 3]])
    array([2., 2., 4.])
    """
    distances = _core.distance_to_mean(as_matrix("data", data), as_threads(threads))
    if not np.all(np.isfinite(distances)):  # one bad value spoils the mean, and so all of them
        raise ValueError("data: expected finite values, got NaN or infinity")
    return distances


def euclidean(distances: Float32, metric: str) -> Float32:
    """Turn distances of `metric` into Euclidean ones: ``|a - b|^2 = 2 (1 - cos)`` for unit vectors."""
    factor = np.float32(2 if metric == "cosine" else 1)
    # Rounding may leave a cosine distance a little below zero; a negative squared distance is an error.
    squared = np.maximum(distances, np.float32(0)) if metric == "cosine" else distances
    if np.any(squared < 0) or np.any(np.isnan(squared)):
        raise ValueError("neighbors: expected distances of at least 0, got a negative one or NaN")
    return np.ascontiguousarray(np.sqrt(factor * squared))


def _distances_of(neighbors: tuple[ArrayLike, ArrayLike]) -> ArrayLike:
    if not isinstance(neighbors, tuple) or len(neighbors) != 2:
        raise ValueError(f"neighbors: expected a pair (ids, distances), got {type(neighbors).__name__}")
    return neighbors[1]
