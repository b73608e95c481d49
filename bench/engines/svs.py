"""Scalable Vector Search (package scalable-vs): a Vamana graph over LVQ or LeanVec codes, or float32 rows."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Engine, Ids


class Svs(Engine):
    """`codes` is f32, lvq8, lvq4x8 (primary x residual bits) or leanvec4x8, which halves the dimension first.

    The degree is 2 M, the window of the build is ef_construction. Compression reads a file, which `prepare`
    writes, so that it is no part of the build seconds.
    """

    package = "scalable-vs"
    parameter = "window"

    def __init__(
        self, metric: str, M: int = 16, ef_construction: int = 200, seed: int = 0, codes: str = "lvq4x8"
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        match = re.fullmatch(r"(lvq|leanvec)(\d)(?:x(\d))?", codes)
        if match is None and codes != "f32":
            raise ValueError(f"codes: expected f32, lvq8, lvq4x8, leanvec4x8 or such, got {codes!r}")
        self.kind = "f32" if match is None else match[1]
        self.bits = (0, 0) if match is None else (int(match[2]), int(match[3] or 0))

    def prepare(self, data: DataSet) -> None:
        """Write the rows in the format that is compressed from."""
        import svs  # type: ignore[import-untyped]

        if self.kind != "f32":
            self.folder = tempfile.TemporaryDirectory(prefix="whimbrel-bench-")
            svs.write_vecs(data.base, str(Path(self.folder.name) / "rows.fvecs"))

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import svs

        if order is not None:
            raise ValueError("order: expected None, its graph does not grow row by row")
        self.index: Any = None
        dim = data.base.shape[1]
        rows: Any = data.base
        if self.kind != "f32":
            path = str(Path(self.folder.name) / "rows.fvecs")
            rows = self._codes(svs.VectorDataLoader(path, svs.DataType.float32, dims=dim), dim)
        parameters = svs.VamanaBuildParameters(
            alpha=1.2 if self.metric == "l2" else 0.95,
            graph_max_degree=2 * self.M,
            window_size=self.ef_construction,
        )
        self.index = svs.Vamana.build(parameters, rows, self._distance(), num_threads=threads)
        self.threads = threads

    def _codes(self, rows: Any, dim: int) -> Any:
        import svs

        primary, residual = self.bits
        if self.kind == "lvq":
            return svs.LVQLoader(rows, primary=primary, residual=residual)
        kinds = {4: svs.LeanVecKind.lvq4, 8: svs.LeanVecKind.lvq8}
        return svs.LeanVecLoader(
            rows, leanvec_dims=dim // 16 * 8, primary_kind=kinds[primary], secondary_kind=kinds[residual or 8]
        )

    def _distance(self) -> Any:
        import svs

        return svs.DistanceType.L2 if self.metric == "l2" else svs.DistanceType.MIP

    def save(self, folder: Path) -> None:
        self.index.save(*(str(folder / part) for part in ("config", "graph", "rows")))

    def load(self, folder: Path, dim: int) -> None:
        import svs

        rows = str(folder / "rows")
        loader = {"f32": svs.VectorDataLoader, "lvq": svs.LVQLoader, "leanvec": svs.LeanVecLoader}[self.kind]
        graph = svs.GraphLoader(str(folder / "graph"))
        self.index = svs.Vamana(str(folder / "config"), graph, loader(rows), self._distance(), num_threads=1)
        self.threads = 1

    def set_parameter(self, value: float) -> None:
        self.index.search_window_size = int(value)

    def search_one(self, query: Float32, k: int) -> Ids:
        return self.search(query, k, 1)

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        if threads != self.threads:
            self.index.num_threads = self.threads = threads
        found: Ids = self.index.search(queries, k)[0]
        return found
