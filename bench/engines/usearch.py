"""usearch, on float32, float16, bfloat16 or 8-bit rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Counts, Engine, Ids


class Usearch(Engine):
    """`dtype` is f32, f16, bf16 or i8, which is for values in [-1, 1]: rows and queries are scaled to it."""

    package = "usearch"

    def __init__(
        self, metric: str, M: int = 16, ef_construction: int = 200, seed: int = 0, dtype: str = "f32"
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        self.dtype = dtype

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        from usearch.index import Index

        self.index: Any = None
        self.scale = np.float32(np.abs(data.base).max() if self.dtype == "i8" else 1)
        self.index = Index(
            ndim=data.base.shape[1],
            metric="l2sq" if self.metric == "l2" else "ip",
            dtype=self.dtype,
            connectivity=self.M,
            expansion_add=self.ef_construction,
        )
        ids = np.arange(len(data.base), dtype=np.uint64) if order is None else order.astype(np.uint64)
        rows = data.base if order is None else data.base[order]
        self.index.add(ids, self._scaled(rows), threads=threads)

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index.usearch"))
        np.save(folder / "scale.npy", self.scale)

    def load(self, folder: Path, dim: int) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(folder / "index.usearch"))
        self.scale = np.load(folder / "scale.npy")[()]

    def set_parameter(self, value: float) -> None:
        self.index.expansion_search = int(value)

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.index.search(self._scaled(query), k, threads=1).keys
        return found

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        return self.search_counted(queries, k, threads)[0]

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        found = self.index.search(self._scaled(queries), k, threads=threads)
        return found.keys.astype(np.int64), Counts(found.computed_distances / len(queries), None)

    def _scaled(self, rows: Float32) -> Float32:
        return rows if self.dtype != "i8" else rows / self.scale
