"""Exact search as one writes it with NumPy: a matrix product and argpartition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Engine, Ids

BLOCK = 8_192  # base rows per matrix product: the scores of 1000 queries stay below 32 MiB


def nearest(base: Float32, offsets: Float32 | None, queries: Float32, k: int) -> NDArray[np.int64]:
    """Ids of the k rows with the largest inner product, less their offset: |row|^2 / 2 makes it l2."""
    best = np.empty((len(queries), 0), np.float32)  # negated scores, smaller is nearer
    ids = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(base), BLOCK):
        distances = -(queries @ base[start : start + BLOCK].T)
        if offsets is not None:
            distances += offsets[start : start + BLOCK]
        near = np.argpartition(distances, min(k, distances.shape[1]) - 1, axis=1)[:, :k]
        best = np.concatenate([best, np.take_along_axis(distances, near, 1)], axis=1)
        ids = np.concatenate([ids, near + start], axis=1)
    order = np.argsort(best, axis=1)[:, :k]
    return np.take_along_axis(ids, order, 1)


class NumpyScan(Engine):
    """Not tuned, so that its sweep is one point."""

    package = "numpy"
    parameter = "-"
    values = (0,)

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        self.base = data.base.copy()  # as the others do
        self.offsets = np.einsum("nd,nd->n", self.base, self.base) / 2 if self.metric == "l2" else None

    def save(self, folder: Path) -> None:
        np.save(folder / "base.npy", self.base)

    def load(self, folder: Path, dim: int) -> None:
        self.base = np.load(folder / "base.npy")
        self.offsets = np.einsum("nd,nd->n", self.base, self.base) / 2 if self.metric == "l2" else None

    def set_parameter(self, value: float) -> None:
        """Nothing to set."""

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.search(query[None], k, 1)[0]
        return found

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(threads):
            return nearest(self.base, self.offsets, queries, k)
