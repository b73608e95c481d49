"""NGT: ONNG, an approximate neighbor graph whose edges are then thinned and reversed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Ids, OneByOne


class Ngt(OneByOne):
    """Has its own parameters: `edges` of the first graph, then `outgoing` and `incoming` edges per node."""

    package = "ngt"
    parameter = "epsilon"
    values = (
        0.0,
        0.01,
        0.02,
        0.03,
        0.04,
        0.05,
        0.06,
        0.08,
        0.10,
        0.12,
        0.14,
        0.16,
        0.18,
        0.20,
        0.23,
        0.26,
        0.3,
    )

    def __init__(
        self,
        metric: str,
        M: int = 16,
        ef_construction: int = 200,
        seed: int = 0,
        edges: int = 100,
        outgoing: int = 10,
        incoming: int = 120,
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        self.edges, self.outgoing, self.incoming = edges, outgoing, incoming

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import ngtpy  # type: ignore[import-not-found]

        if order is not None:
            raise ValueError("order: expected None, its ids are the order of insertion")
        self.folder = tempfile.TemporaryDirectory(prefix="whimbrel-bench-")
        first, thinned = (str(Path(self.folder.name) / name) for name in ("anng", "onng"))
        distance = "L2" if self.metric == "l2" else "Normalized L2"
        ngtpy.create(first, data.base.shape[1], edge_size_for_creation=self.edges, distance_type=distance)
        graph = ngtpy.Index(first, log_disabled=True)
        graph.batch_insert(data.base, num_threads=threads)
        graph.save()
        graph.close()
        optimizer = ngtpy.Optimizer(log_disabled=True)
        optimizer.set(num_of_outgoings=self.outgoing, num_of_incomings=self.incoming)
        optimizer.set_processing_modes(
            search_parameter_optimization=False,
            prefetch_parameter_optimization=False,
            accuracy_table_generation=False,
        )
        optimizer.execute(first, thinned)
        self._open(Path(thinned))

    def _open(self, path: Path) -> None:
        import ngtpy

        self.path = path
        self.index: Any = ngtpy.Index(str(path), read_only=True, log_disabled=True)

    def save(self, folder: Path) -> None:
        shutil.copytree(self.path, folder / "onng")

    def load(self, folder: Path, dim: int) -> None:
        self._open(folder / "onng")

    def set_parameter(self, value: float) -> None:
        self.index.set(epsilon=value, edge_size=0)

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.index.search(query, k, with_distance=False)
        return found
