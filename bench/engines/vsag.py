"""pyvsag: HGraph, a one-level graph over codes, with float32 rows for re-ranking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Ids, OneByOne


class Vsag(OneByOne):
    """`codes` is its `base_quantization_type`: sq8, sq8_uniform, sq4_uniform, rabitq or fp32."""

    package = "pyvsag"

    def __init__(
        self, metric: str, M: int = 16, ef_construction: int = 200, seed: int = 0, codes: str = "sq8"
    ) -> None:
        super().__init__(metric, M, ef_construction, seed)
        self.codes = codes

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        self.index: Any = None
        self.index = self._empty(data.base.shape[1], threads)
        ids = np.arange(len(data.base), dtype=np.int64) if order is None else order
        rows = data.base if order is None else data.base[order]
        self.index.build(vectors=rows.reshape(-1), ids=ids, num_elements=len(ids), dim=rows.shape[1])

    def _empty(self, dim: int, threads: int) -> Any:
        import pyvsag  # type: ignore[import-untyped]

        pyvsag.set_logger_off()
        parameters: dict[str, Any] = {
            "base_quantization_type": self.codes,
            "max_degree": 2 * self.M,
            "ef_construction": self.ef_construction,
            "build_thread_count": threads,
        }
        if self.codes != "fp32":
            parameters |= {"use_reorder": True, "precise_quantization_type": "fp32"}
        metric = "l2" if self.metric == "l2" else "ip"
        whole = {"dtype": "float32", "metric_type": metric, "dim": dim, "index_param": parameters}
        return pyvsag.Index("hgraph", json.dumps(whole))

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index.vsag"))

    def load(self, folder: Path, dim: int) -> None:
        self.index = self._empty(dim, 1)
        self.index.load(str(folder / "index.vsag"))

    def set_parameter(self, value: float) -> None:
        self.parameters = json.dumps({"hgraph": {"ef_search": int(value)}})

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.index.knn_search(query, k, self.parameters)[0]
        return found
