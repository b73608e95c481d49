"""This package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Counts, Engine, Ids, Level0

if TYPE_CHECKING:
    import whimbrel as wb


class Whimbrel(Engine):
    """`order`, `keep_pruned`, `batch_growth` and so on are those of `HnswIndex.build`."""

    package = "whimbrel"

    def __init__(
        self,
        metric: str,
        M: int = 16,
        ef_construction: int = 200,
        seed: int = 0,
        order: str = "given",
        **options: Any,
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        self.order, self.options = order, options

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import whimbrel as wb

        self.index: wb.HnswIndex | None = None  # frees the last one first
        self.index = wb.HnswIndex.build(
            data.base,
            metric=self.metric,
            M=self.M,
            ef_construction=self.ef_construction,
            order=self.order if order is None else order,
            labels=data.labels if order is None and self.order == "category" else None,
            seed=self.seed,
            threads=threads,
            **self.options,
        )

    def save(self, folder: Path) -> None:
        assert self.index is not None
        self.index.save(folder / "index.whb")

    def load(self, folder: Path, dim: int) -> None:
        import whimbrel as wb

        self.index = wb.HnswIndex.load(folder / "index.whb")

    def set_parameter(self, value: float) -> None:
        self.ef = int(value)

    def search_one(self, query: Float32, k: int) -> Ids:
        return self.search(query, k, 1)

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        assert self.index is not None
        return self.index.search(queries, k, ef_search=self.ef, filter=self.filter, threads=threads).ids

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        assert self.index is not None
        found, counts = self.index.search_with_counts(
            queries, k, ef_search=self.ef, filter=self.filter, threads=threads
        )
        return found.ids, Counts(float(np.mean(counts.distances)), float(np.mean(counts.hops)))

    def make_filter(self, ids: NDArray[np.int64]) -> Any:
        import whimbrel as wb

        return wb.IdFilter(ids)

    def index_bytes(self) -> int | None:
        assert self.index is not None
        return self.index.memory_usage()

    def level0(self) -> Level0 | None:
        assert self.index is not None
        return Level0(self.index.stats.mean_degree, self.index.validate().unreachable)
