"""What LID says about a data set, and whether the order of insertion is likely to matter for it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Float64, as_choice, as_int, as_matrix, as_threads, normalized
from ._progress import Progress
from .lid import LID_METRICS, MAX_LID_K, distance_to_mean, estimate_lid

__all__ = ["LidReport", "lid_report"]

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class LidReport:
    """Summary of the local intrinsic dimensionality of a data set; `str` of it is the text to read.

    Attributes
    ----------
    n, dim, k : int
        Points, their ambient dimension, and neighbors per estimate.
    percentiles : dict of int to float
        The 5th, 25th, 50th, 75th and 95th percentile of the pointwise estimates.
    global_lid : float
        Harmonic mean of the positive estimates: the maximum-likelihood combination.
    spread : float
        95th over 5th percentile; infinite if only the latter is 0, 1 if both are.
    mean_distance_correlation : float
        Spearman's rank correlation of LID with the distance to the mean; 0 if either is constant.
    duplicates : int
        Points with fewer than 2 distinct neighbors, whose estimate is 0.
    verdict : str
        Whether the order of insertion is likely to matter, in a sentence: see `order_verdict`.
    lid : (n,) float64
        The estimates themselves.
    """

    n: int
    dim: int
    k: int
    percentiles: dict[int, float]
    global_lid: float
    spread: float
    mean_distance_correlation: float
    duplicates: int
    verdict: str
    lid: Float64

    def __repr__(self) -> str:
        return f"<LidReport n={self.n} dim={self.dim} k={self.k} global_lid={self.global_lid:.4g}>"

    def __str__(self) -> str:
        percentiles = "  ".join(f"p{p} {value:.1f}" for p, value in self.percentiles.items())
        return "\n".join(
            [
                f"LID of {self.n:,} points in {self.dim} dimensions, {self.k} neighbors each",
                f"  pointwise    {percentiles}",
                f"  global       {self.global_lid:.1f} (harmonic mean), {self.duplicates:,} on duplicates",
                f"  spread       {self.spread:.2f} (p95 / p5; {noise_spread(self.k):.2f} is noise alone)",
                f"  correlation  {self.mean_distance_correlation:+.2f} with distance to the mean (ranks)",
                *textwrap.wrap(self.verdict, 90, initial_indent="  ", subsequent_indent="  "),
            ]
        )


def lid_report(
    data: ArrayLike, k: int = 100, *, metric: str = "l2", threads: int = 0, progress: Progress = False
) -> LidReport:
    """Summarize the LID of a data set, and say whether insertion order is likely to matter for a graph of it.

    Parameters
    ----------
    data : (n, d) array_like of float32
        At least 2 points.
    k : int
        Neighbors per estimate, at least 2; n - 1 if there are fewer.
    metric : {"l2", "cosine"}
    threads : int
        Worker threads; 0 uses all. Does not change the result.
    progress : bool or callable
        As in `knn`.

    Returns
    -------
    LidReport

    Notes
    -----
    Costs an exact search of all points, ``n * n * d`` operations: pass a random sample of a large set,
    whose LID is the same but for more smoothing if `k` shrinks with it. The rule behind the verdict is in
    `order_verdict`.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> square = np.random.default_rng(0).random((2000, 2))
    >>> report = wb.lid_report(square, k=50)
    >>> round(report.global_lid, 1)
    2.0
    >>> print(report.verdict)
    Insertion order is unlikely to matter: LID differs little more than by noise.
    """
    rows = as_matrix("data", data)
    if len(rows) < 2:
        raise ValueError(f"data: expected at least 2 rows, got {len(rows)}")
    as_choice("metric", metric, LID_METRICS)
    k = min(as_int("k", k, 2, MAX_LID_K), len(rows) - 1)
    lid = estimate_lid(rows, max(k, 2), metric=metric, threads=threads, progress=progress)
    percentiles = {p: float(np.percentile(lid, p)) for p in PERCENTILES}
    positive = lid[lid > 0]
    spread = 1.0
    if percentiles[95] > 0:
        spread = percentiles[95] / percentiles[5] if percentiles[5] > 0 else float("inf")
    points = normalized(rows) if metric == "cosine" else rows
    correlation = rank_correlation(lid, distance_to_mean(points, threads=as_threads(threads)))
    return LidReport(
        n=rows.shape[0],
        dim=rows.shape[1],
        k=k,
        percentiles=percentiles,
        global_lid=float(len(positive) / np.sum(1 / positive)) if len(positive) else 0.0,
        spread=spread,
        mean_distance_correlation=correlation,
        duplicates=len(lid) - len(positive),
        verdict=order_verdict(spread, correlation, k),
        lid=lid,
    )


def order_verdict(spread: float, correlation: float, k: int) -> str:
    """Say whether the order of insertion is likely to matter to an HNSW graph.

    The rule: a graph that grows from a dense core outwards is pruned to a near-tree, since a core point is
    nearer to everything than anything else is. That takes a density that falls smoothly from a core to a
    periphery, whose signature is a LID that differs between points (`spread` at least 1.5 times what noise
    alone makes it) and grows with the distance to the mean (rank `correlation` at least 0.4).

    Measured on 8,000 points, M = 16, lists not filled with pruned candidates, ef 10: a heavy-tailed Gaussian
    (spread 2.4, correlation +0.59) has recall .44 in descending LID order, .27 in random and .14 in
    ascending order. For clusters of different dimension (9.4, +0.12) and documentation strings (7.3, -0.51)
    random order is within a point of the best, and others are up to 8 points worse. For a homogeneous
    Gaussian, a cube and unit-norm vectors (all below 1.7) the LID and random orders differ by up to 2.
    """
    if spread < 1.5 * noise_spread(k):
        return "Insertion order is unlikely to matter: LID differs little more than by noise."
    if correlation >= 0.4:
        return (
            "Insertion order is likely to matter: LID grows away from the mean. Insert the periphery first, "
            "with order='mean_distance_descending' or 'lid_descending'."
        )
    return (
        "Insertion order may matter a little: LID differs, but not from a core to a periphery. "
        "order='random' is safe; measure another before using it."
    )


def noise_spread(k: int) -> float:
    """95th over 5th percentile of estimates of one LID, which deviate by about 1 / sqrt(k) of it."""
    return float(np.exp(2 * 1.645 / np.sqrt(k)))


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's correlation, equal values sharing their mean rank; 0 if all values of either are equal."""
    x, y = (_ranks(v) - (len(v) - 1) / 2 for v in (a, b))
    scale = float(np.sqrt(x @ x) * np.sqrt(y @ y))
    return float(x @ y) / scale if scale > 0 else 0.0


def _ranks(values: NDArray[np.float64]) -> Float64:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]
