"""The face that every library has for the benches. The libraries themselves: one file each in this folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet, Float32

Ids = NDArray[np.integer[Any]]

# About a fifth apart, so that a straight line between two of them is close to the curve.
EFS = (
    10,
    12,
    14,
    17,
    20,
    24,
    28,
    34,
    40,
    48,
    56,
    68,
    80,
    96,
    112,
    136,
    160,
    192,
    224,
    272,
    320,
    400,
    500,
    640,
)


@dataclass(frozen=True)
class Level0:
    """Facts about the level-0 graph of an index."""

    mean_degree: float
    unreachable: int


@dataclass(frozen=True)
class Counts:
    """Means per query; None if the library does not tell."""

    distances: float | None
    hops: float | None


class Engine(ABC):
    """An index over one data set; `build` may be called again and starts from nothing.

    `M` counts links as hnswlib does: M per node on the upper levels, 2 M on level 0. Graphs of one level have
    2 M. Engines without a graph ignore it.
    """

    package: str  #: whose version is recorded
    parameter = "ef"  #: what its searches are tuned by
    values: Sequence[float] = EFS  #: of the parameter, from fast to exact
    filter: Any = None  #: of `make_filter`; holds for the searches that follow

    def __init__(self, metric: str, M: int = 16, ef_construction: int = 200, seed: int = 0) -> None:
        self.metric, self.M, self.ef_construction, self.seed = metric, M, ef_construction, seed

    @staticmethod
    def environment() -> Mapping[str, str | None]:
        """Variables of the process that it runs best with."""
        return {}

    def prepare(self, data: DataSet) -> None:  # noqa: B027 - most have nothing to do
        """Do before a build what is not counted as part of it."""

    @abstractmethod
    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        """Index the base rows, in the order of a permutation if there is one."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the index to files in an empty folder."""

    @abstractmethod
    def load(self, folder: Path, dim: int) -> None:
        """Read what `save` wrote, in place of a build."""

    @abstractmethod
    def set_parameter(self, value: float) -> None:
        """Set the effort of the searches that follow."""

    @abstractmethod
    def search_one(self, query: Float32, k: int) -> Ids:
        """Ids for one query (d,), on one thread."""

    @abstractmethod
    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        """Ids for all queries in one call."""

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        """`search`, and what it cost where the library tells."""
        return self.search(queries, k, threads), Counts(None, None)

    def make_filter(self, ids: NDArray[np.int64]) -> Any:
        """What restricts a search to these ids, in the library's fastest form."""
        raise NotImplementedError(f"{self.package}: expected a library with filters in its adapter")

    def index_bytes(self) -> int | None:
        """Memory of the index by its own account; None if the library does not tell."""
        return None

    def level0(self) -> Level0 | None:
        """Facts about the graph; None if the library does not give them away."""
        return None


class OneByOne(Engine):
    """A library without a batch call for Python: a loop, and as many loops as threads."""

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        if threads == 1:
            return self._loop(queries, k)
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(lambda part: self._loop(part, k), np.array_split(queries, threads))
            return np.concatenate(list(parts))

    def _loop(self, queries: Float32, k: int) -> Ids:
        found = np.full((len(queries), k), -1, np.int64)
        for row, query in zip(found, queries, strict=True):
            ids = self.search_one(query, k)
            row[: len(ids)] = ids
        return found
