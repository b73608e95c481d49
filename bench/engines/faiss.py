"""faiss: HNSW over float32 or 8-bit codes, with or without re-ranking, and exact search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32
from bench.machine import cpu_flags

from .engine import Counts, Engine, Ids


class Faiss(Engine):
    """What its indexes share: files, threads, calls."""

    package = "faiss-cpu"

    def save(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self.index, str(folder / "index.faiss"))

    def load(self, folder: Path, dim: int) -> None:
        import faiss

        self.index: Any = faiss.read_index(str(folder / "index.faiss"))

    def search_one(self, query: Float32, k: int) -> Ids:
        return self.search(query[None], k, 1)

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        import faiss

        faiss.omp_set_num_threads(threads)
        found: Ids = self.index.search(queries, k)[1]
        return found

    def _metric(self) -> int:
        import faiss

        return int(faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT)


class FaissHnsw(Faiss):
    """`storage` is "flat" or "sq8"; with `refine`, twice k hits are ranked again by their float32 rows.

    Within one add faiss permutes the rows, so that it cannot be given an order.
    """

    def __init__(
        self,
        metric: str,
        M: int = 16,
        ef_construction: int = 200,
        seed: int = 0,
        storage: str = "flat",
        refine: bool = False,
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        if storage not in ("flat", "sq8"):
            raise ValueError(f"storage: expected flat or sq8, got {storage!r}")
        self.storage, self.refine = storage, refine

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import faiss

        if order is not None:
            raise ValueError("order: expected None, faiss chooses its own within one add")
        self.index = None
        faiss.omp_set_num_threads(threads)
        dim = data.base.shape[1]
        if self.storage == "flat":
            graph: Any = faiss.IndexHNSWFlat(dim, self.M, self._metric())
        else:
            codes: Any = faiss.ScalarQuantizer.QT_8bit
            graph = faiss.IndexHNSWSQ(dim, codes, self.M, self._metric())
        graph.hnsw.efConstruction = self.ef_construction
        self.index = faiss.IndexRefineFlat(graph) if self.refine else graph
        self.index.train(data.base)
        self.index.add(data.base)

    def set_parameter(self, value: float) -> None:
        import faiss

        graph = self.index
        if self.refine:
            self.index.k_factor = 2
            graph = faiss.downcast_index(self.index.base_index)
        graph.hnsw.efSearch = int(value)

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        import faiss

        stats: Any = faiss.cvar
        stats.hnsw_stats.reset()
        found = self.search(queries, k, threads)
        stats = stats.hnsw_stats
        return found, Counts(stats.ndis / len(queries), stats.nhops / len(queries))


class FaissFlat(Faiss):
    """Exact search. Not tuned, so that its sweep is one point."""

    parameter = "-"
    values = (0,)

    @staticmethod
    def environment() -> Mapping[str, str | None]:
        """Help the OpenBLAS of the wheel, which takes CPUs newer than itself for old ones."""
        return {"OPENBLAS_CORETYPE": "SkylakeX"} if "avx512f" in cpu_flags() else {}

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import faiss

        self.index = None
        self.index = faiss.IndexFlat(data.base.shape[1], self._metric())
        self.index.add(data.base)

    def set_parameter(self, value: float) -> None:
        """Nothing to set."""
