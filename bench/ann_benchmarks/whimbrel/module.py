"""whimbrel for ann-benchmarks: copy this folder to its ann_benchmarks/algorithms/whimbrel."""

from __future__ import annotations

from typing import Any

import numpy as np
import whimbrel as wb

from ..base.module import BaseANN

METRICS = {"euclidean": "l2", "angular": "cosine"}


class Whimbrel(BaseANN):  # type: ignore[misc]
    """HNSW; `method_param` has the parameters of `HnswIndex.build`, a query argument is ef_search.

    Its runner holds a process of single queries to one core, so these run on one thread; a batch uses all.
    """

    def __init__(self, metric: str, method_param: dict[str, Any]) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric: expected {' or '.join(METRICS)}, got {metric!r}")
        self.metric = METRICS[metric]
        self.method_param = dict(method_param)
        self.ef = 0
        self._name()

    def fit(self, X: np.ndarray) -> None:  # noqa: N803 - the name of the base class
        rows = np.ascontiguousarray(X, dtype=np.float32)
        self.index = wb.HnswIndex.build(rows, metric=self.metric, **self.method_param)

    def set_query_arguments(self, ef: int) -> None:
        self.ef = ef
        self.distances, self.queries = 0, 0
        self._name()

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        ids = self.index.search(v, n, ef_search=self.ef, threads=1).ids
        return ids[ids >= 0]

    def batch_query(self, X: np.ndarray, n: int) -> None:  # noqa: N803
        found, counts = self.index.search_with_counts(X, n, ef_search=self.ef)
        self.found = found.ids
        self.distances, self.queries = int(np.sum(counts.distances)), len(self.found)

    def get_batch_results(self) -> list[np.ndarray]:
        return [ids[ids >= 0] for ids in self.found]

    def get_additional(self) -> dict[str, Any]:
        """Distance computations of the last batch; single queries do not count, which would cost time."""
        return {"dist_comps": self.distances} if self.queries else {}

    def get_memory_usage(self) -> float:
        """Of the index, in kB."""
        return self.index.memory_usage() / 1024 if hasattr(self, "index") else 0.0

    def done(self) -> None:
        if hasattr(self, "index"):
            del self.index

    def _name(self) -> None:
        options = ", ".join(f"{name}={value}" for name, value in self.method_param.items())
        self.name = f"whimbrel({options}, ef={self.ef})"

    def __str__(self) -> str:
        return self.name
