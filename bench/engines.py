"""Adapters: one face for the graph indexes that are compared.

An engine is named by a specification such as `whimbrel`, `whimbrel:order=random,keep_pruned=false` or
`hnswlib:M=32`. Each counts M as hnswlib does: M links per node on the upper levels, 2 M on level 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import DataSet, Float32

Ids = NDArray[np.integer[Any]]


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
    """An index over one data set; `build` may be called again and starts from nothing."""

    package: str  #: whose version is recorded

    def __init__(self, metric: str, M: int = 16, ef_construction: int = 200, seed: int = 0) -> None:
        self.metric, self.M, self.ef_construction, self.seed = metric, M, ef_construction, seed

    @abstractmethod
    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        """Index the base rows, in the order of a permutation if there is one."""

    @abstractmethod
    def set_ef(self, ef: int) -> None:
        """Set the beam width of the searches that follow."""

    @abstractmethod
    def search_one(self, query: Float32, k: int) -> Ids:
        """Ids for one query (d,), on one thread."""

    @abstractmethod
    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        """Ids for all queries in one call."""

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        """`search`, and what it cost where the library tells."""
        return self.search(queries, k, threads), Counts(None, None)

    def level0(self) -> Level0 | None:
        """Facts about the graph; None if the library does not give them away."""
        return None

    def index_bytes(self) -> int | None:
        """Size of the index by its own account, or of what it would save."""
        return None


class Whimbrel(Engine):
    """This package. `order`, `keep_pruned`, `batch_growth` and so on are those of `HnswIndex.build`."""

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

    def set_ef(self, ef: int) -> None:
        self.ef = ef

    def search_one(self, query: Float32, k: int) -> Ids:
        return self.search(query, k, 1)

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        assert self.index is not None
        return self.index.search(queries, k, ef_search=self.ef, threads=threads).ids

    def search_counted(self, queries: Float32, k: int, threads: int) -> tuple[Ids, Counts]:
        assert self.index is not None
        found, counts = self.index.search_with_counts(queries, k, ef_search=self.ef, threads=threads)
        return found.ids, Counts(float(np.mean(counts.distances)), float(np.mean(counts.hops)))

    def level0(self) -> Level0 | None:
        assert self.index is not None
        return Level0(self.index.stats.mean_degree, self.index.validate().unreachable)

    def index_bytes(self) -> int | None:
        assert self.index is not None
        return self.index.memory_usage()


class Hnswlib(Engine):
    """hnswlib. Cosine data have unit rows, so they are given as "ip", its fastest form for them."""

    package = "hnswlib"
    FIRST_SEED = 100  # its default; 0 and 1 would give the same levels

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import hnswlib  # type: ignore[import-untyped]

        self.index: Any = None
        self.index = hnswlib.Index(space="l2" if self.metric == "l2" else "ip", dim=data.base.shape[1])
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

    def set_ef(self, ef: int) -> None:
        self.index.set_ef(ef)

    def search_one(self, query: Float32, k: int) -> Ids:
        found: Ids = self.index.knn_query(query, k=k, num_threads=1)[0]
        return found

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        found: Ids = self.index.knn_query(queries, k=k, num_threads=threads)[0]
        return found

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

    def index_bytes(self) -> int | None:
        return int(self.index.index_file_size())


class FaissHnsw(Engine):
    """faiss `IndexHNSWFlat`. Within one add it permutes the rows, so that it cannot be given an order."""

    package = "faiss-cpu"

    def build(self, data: DataSet, threads: int, order: NDArray[np.int64] | None = None) -> None:
        import faiss

        if order is not None:
            raise ValueError("order: expected None, faiss chooses its own within one add")
        self.index: Any = None
        metric = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexHNSWFlat(data.base.shape[1], self.M, metric)
        self.index.hnsw.efConstruction = self.ef_construction
        self.index.add(data.base)

    def set_ef(self, ef: int) -> None:
        self.index.hnsw.efSearch = ef

    def search_one(self, query: Float32, k: int) -> Ids:
        return self.search(query[None], k, 1)

    def search(self, queries: Float32, k: int, threads: int) -> Ids:
        import faiss

        faiss.omp_set_num_threads(threads)
        found: Ids = self.index.search(queries, k)[1]
        return found


ENGINES: dict[str, type[Engine]] = {"whimbrel": Whimbrel, "hnswlib": Hnswlib, "faiss-hnsw": FaissHnsw}


def parse(specification: str) -> tuple[type[Engine], dict[str, Any]]:
    """Split `name:key=value,...` into the class and its options; values are bool, int, float or text."""
    name, _, rest = specification.partition(":")
    name = name.partition("#")[0]
    if name not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {name!r}")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"engine: expected key=value, got {part!r}")
        options[key] = _value(text)
    return ENGINES[name], options


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def distinct(specifications: list[str]) -> list[str]:
    """Number repeated engines, so that one can be compared with itself: `whimbrel`, `whimbrel#2`."""
    names: list[str] = []
    for specification in specifications:
        name, colon, rest = specification.partition(":")
        repeat = specifications[: len(names)].count(specification)
        names.append(f"{name}#{repeat + 1}{colon}{rest}" if repeat else specification)
    return names
