"""hnswlib, the baseline. Its pickled state tells what its interface does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

from .engine import Engine, Ids, Level0


class Hnswlib(Engine):
    """Cosine data have unit rows, so they are given as "ip", its fastest form for them."""

    package = "hnswlib"
    FIRST_SEED = 100  # its default; 0 and 1 would give the same levels

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        self.index: Any = None
        self.index = self._empty(data.base.shape[1])
        self.index.init_index(
            max_elements=len(data.base),
            M=self.M,
            ef_construction=self.ef_construction,
            random_seed=self.FIRST_SEED + self.seed,
        )
        if order is None:
            self.index.add_items(data.base, num_threads=threads)
        else:
            self.index.add_items(data.base[order], ids=order, num_threads=threads)

    def _empty(self, dim: int) -> Any:
        import hnswlib  # type: ignore[import-untyped]

        return hnswlib.Index(space="l2" if self.metric == "l2" else "ip", dim=dim)

    def save(self, folder: Path) -> None:
        self.index.save_index(str(folder / "index.bin"))

    def load(self, folder: Path, dim: int) -> None:
        self.index = self._empty(dim)
        self.index.load_index(str(folder / "index.bin"))

    def set_parameter(self, value: float) -> None:
        self.index.set_ef(int(value))

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.index.knn_query(query, k=k, num_threads=1)[0]
        return found

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        found: Ids = self.index.knn_query(queries, k=k, num_threads=threads, filter=self.filter)[0]
        return found

    def make_filter(self, ids: NDArray[np.int64]) -> Any:
        """A function that is called for each id that may be a result; this one is C."""
        return frozenset(ids.tolist()).__contains__

    def level0(self) -> Level0 | None:
        """Read from the pickled state: a row starts with a count in two of four bytes, then node numbers."""
        state = self.index.__getstate__()[0]
        rows = state["data_level0"].view(np.uint8).reshape(state["max_elements"], -1)
        words = rows[:, : state["offset_data"]].copy().view(np.uint32)
        degrees, links = words[:, 0] & 0xFFFF, words[:, 1:]
        filled = np.arange(links.shape[1]) < degrees[:, None]
        seen = np.zeros(len(rows), bool)
        front = np.array([state["enterpoint_node"]])
        while front.size:
            seen[front] = True
            reached = np.unique(links[front][filled[front]])
            front = reached[~seen[reached]]
        return Level0(float(np.mean(degrees)), int(np.count_nonzero(~seen)))
