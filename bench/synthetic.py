"""Generated data sets, the same on every machine with the same NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataSet


def _basis(rng: np.random.Generator, latent: int, dim: int) -> NDArray[np.float64]:
    """`latent` orthonormal rows in a random direction."""
    return np.linalg.qr(rng.standard_normal((dim, latent)))[0].T


def _split(
    name: str, points: NDArray[Any], labels: NDArray[Any] | None, n_queries: int, description: str
) -> DataSet:
    """Make the first rows the queries; rows are independent, so they are as good as any."""
    rows = points.astype(np.float32)
    kept = None if labels is None else labels[n_queries:]
    base, queries = rows[n_queries:].copy(), rows[:n_queries].copy()
    return DataSet(name, "l2", base, queries, kept, description)


def mixlid() -> DataSet:
    """Forty clusters in random subspaces of dimension 4 to 64: the LID truly differs from point to point."""
    rng = np.random.default_rng(5)
    n, n_queries, dim = 40_000, 2_000, 128
    labels = rng.integers(0, 40, n + n_queries)
    points = np.empty((n + n_queries, dim))
    for cluster in range(40):
        latent = (4, 8, 16, 32, 64)[cluster % 5]
        basis = _basis(rng, latent, dim)
        rows = np.flatnonzero(labels == cluster)
        center = 0.5 * rng.standard_normal(dim)
        points[rows] = center + rng.standard_normal((len(rows), latent)) @ basis
    return _split("mixlid", points, labels, n_queries, "40 Gaussian clusters of latent dimension 4 to 64")


def gauss32() -> DataSet:
    """One Gaussian in a random subspace: nothing for an order to find."""
    rng = np.random.default_rng(32)
    basis = _basis(rng, 32, 128)
    points = rng.standard_normal((32_000, 32)) @ basis
    return _split("gauss32", points, None, 2_000, "one Gaussian of latent dimension 32")


def tail() -> DataSet:
    """A Gaussian whose points are scaled by Gamma(2, 1): a dense core and a sparse periphery."""
    rng = np.random.default_rng(7)
    basis = _basis(rng, 32, 128)
    scale = rng.gamma(2.0, 1.0, (9_000, 1))
    points = scale * (rng.standard_normal((9_000, 32)) @ basis)
    return _split("tail", points, None, 1_000, "latent dimension 32, norms with a heavy tail")


def mix() -> DataSet:
    """Forty well separated clusters of one radius, in subspaces of dimension 2 to 64."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 40, 9_000)
    points = np.empty((9_000, 128))
    for cluster in range(40):
        latent = (2, 4, 8, 16, 32, 64)[cluster % 6]
        basis = _basis(rng, latent, 128) * (8 / np.sqrt(latent))  # root mean square radius 8
        rows = np.flatnonzero(labels == cluster)
        points[rows] = rng.standard_normal(128) + rng.standard_normal((len(rows), latent)) @ basis
    return _split("mix", points, labels, 1_000, "40 clusters of latent dimension 2 to 64, one radius")


def _mixture(name: str, n: int) -> DataSet:
    """A thousand clusters of latent dimension 24 around centers in one more subspace, plus noise."""
    rng = np.random.default_rng(11)
    n_queries, dim, latent, clusters = 2_000, 128, 24, 1_000
    labels = rng.choice(clusters, n + n_queries, p=rng.dirichlet(np.full(clusters, 2.0)))
    centers = (0.8 * rng.standard_normal((clusters, latent)) @ _basis(rng, latent, dim)).astype(np.float32)
    lengths = np.linspace(1, 0.5, latent, dtype=np.float32)  # of the axes of a cluster
    points = 0.02 * rng.standard_normal((n + n_queries, dim), dtype=np.float32)
    for cluster in range(clusters):
        basis = _basis(rng, latent, dim).astype(np.float32)
        rows = np.flatnonzero(labels == cluster)
        latents = rng.standard_normal((len(rows), latent), dtype=np.float32) * lengths
        points[rows] += centers[cluster] + latents @ basis
    return _split(name, points, labels, n_queries, "1000 Gaussian clusters of latent dimension 24")


def cube16() -> DataSet:
    """Uniform in a cube of 16 dimensions, turned into 128: intrinsic dimension 16 but at its faces."""
    rng = np.random.default_rng(16)
    points = rng.random((21_000, 16)) @ _basis(rng, 16, 128)
    return _split("cube16", points, None, 1_000, "uniform in a cube of dimension 16")


def clustered_order() -> DataSet:
    """The rows of `mix`, one cluster after the other, as from a crawl or a sorted table."""
    rows = mix()
    assert rows.labels is not None
    order = np.argsort(rows.labels, kind="stable")
    base, labels = rows.base[order], rows.labels[order]
    return DataSet("clustered-order", "l2", base, rows.queries, labels, "the set mix, sorted by cluster")


def near_duplicates() -> DataSet:
    """Ten almost equal copies of 2,000 points: the nearest neighbors are far nearer than all others."""
    rng = np.random.default_rng(10)
    points = np.repeat(rng.standard_normal((2_100, 32)), 10, axis=0) @ _basis(rng, 32, 128)
    points += 1e-3 * rng.standard_normal(points.shape)
    rng.shuffle(points)
    return _split("near-duplicates", points, None, 1_000, "ten almost equal copies of each point")


GENERATED: dict[str, Callable[[], DataSet]] = {
    "mixlid": mixlid,
    "gauss32": gauss32,
    "tail": tail,
    "mix": mix,
    "cube16": cube16,
    "clustered-order": clustered_order,
    "near-duplicates": near_duplicates,
    "mixture-100k": partial(_mixture, "mixture-100k", 100_000),
    "mixture-500k": partial(_mixture, "mixture-500k", 500_000),
    "mixture-2m": partial(_mixture, "mixture-2m", 2_000_000),
}
