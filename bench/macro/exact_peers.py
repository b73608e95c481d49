"""Who finds exact neighbors: this package, faiss, and NumPy with and without a selection.

- `faiss-flat (default)`: the wheel's OpenBLAS chooses its kernels itself. On CPUs newer than it, it may
  fall back to kernels several times slower, so on a CPU with AVX-512 there is also
- `faiss-flat (SkylakeX)`: the same in a process with OPENBLAS_CORETYPE=SkylakeX, the fair peer.
- `whimbrel (avx512)`: without the matrix unit, where there is one.
- `numpy sgemm`: the product of queries and blocks of the base, nothing else; what selection comes on top
  of.
- `numpy sgemm + argpartition`: exact search as one writes it with NumPy.

OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for all others; each row says what its BLAS reports.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, machine, neighbors
from bench.engines.numpy_scan import BLOCK, nearest
from bench.machine import Row
from bench.macro.race import Contestant, Entry

K = 10
PLAIN: dict[str, str | None] = {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None}


class ExactPeer(Contestant):
    """Has a data set; `work` returns ids of the nearest, or None if it does not select."""

    def __init__(
        self, dataset: str, folder: Path | None, n: int | None, queries: int, cache: Path, threads: int
    ) -> None:
        self.data = data.load(dataset, folder, n, queries)
        self.cache, self.threads = cache, threads
        self.prepare()

    def prepare(self) -> None:
        """Do what does not depend on the queries."""

    @abstractmethod
    def work(self) -> NDArray[np.integer[Any]] | None:
        """Search all queries."""

    def facts(self) -> Row:
        found = self.work()
        truth = neighbors.ground_truth(self.data, self.cache, K)
        return {
            "items": len(self.data.queries),
            "kernels": self.kernels(),
            "recall": None if found is None else neighbors.recall(found, truth),
        }

    def kernels(self) -> str:
        """What its BLAS reports."""
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

        return ", ".join(
            f"{lib['prefix']} {lib['version']} {lib['architecture']}"
            for lib in threadpool_info()
            if lib["user_api"] == "blas" and self.uses(lib)
        )

    def uses(self, library: Row) -> bool:
        """Whether a loaded BLAS is the one that this peer calls."""
        return True


class Whimbrel(ExactPeer):
    package = "whimbrel"

    def work(self) -> NDArray[np.integer[Any]]:
        import whimbrel as wb

        return wb.knn(self.data.base, self.data.queries, K, self.data.metric, threads=self.threads).ids

    def kernels(self) -> str:
        import whimbrel as wb

        return f"own, {wb.active_isa()}"


class FaissFlat(ExactPeer):
    package = "faiss-cpu"

    def prepare(self) -> None:
        import faiss

        kind = faiss.IndexFlatL2 if self.data.metric == "l2" else faiss.IndexFlatIP
        self.index = kind(self.data.base.shape[1])
        self.index.add(self.data.base)

    def work(self) -> NDArray[np.integer[Any]]:
        import faiss

        faiss.omp_set_num_threads(self.threads)
        found: NDArray[np.integer[Any]] = self.index.search(self.data.queries, K)[1]
        return found

    def uses(self, library: Row) -> bool:
        return "faiss" in library["filepath"]


class NumpyProduct(ExactPeer):
    package = "numpy"

    def prepare(self) -> None:
        self.scores = np.empty((len(self.data.queries), BLOCK), np.float32)

    def work(self) -> None:
        for start in range(0, len(self.data.base), BLOCK):
            block = self.data.base[start : start + BLOCK]
            np.matmul(self.data.queries, block.T, out=self.scores[:, : len(block)])


class NumpySearch(ExactPeer):
    package = "numpy"

    def prepare(self) -> None:
        l2 = self.data.metric == "l2"
        self.offsets = np.einsum("nd,nd->n", self.data.base, self.data.base) / 2 if l2 else None

    def work(self) -> NDArray[np.integer[Any]]:
        return nearest(self.data.base, self.offsets, self.data.queries, K)


def entries() -> dict[str, Entry]:
    """By name."""
    known = {"whimbrel": Entry(Whimbrel, PLAIN), "faiss-flat (default)": Entry(FaissFlat, PLAIN)}
    if {"amx_bf16", "avx512_bf16"} <= machine.cpu_flags():
        known["whimbrel (avx512)"] = Entry(Whimbrel, {**PLAIN, "WHIMBREL_ISA": "avx512"})
    if "avx512f" in machine.cpu_flags():
        known["faiss-flat (SkylakeX)"] = Entry(FaissFlat, {**PLAIN, "OPENBLAS_CORETYPE": "SkylakeX"})
    known["numpy sgemm"] = Entry(NumpyProduct, PLAIN)
    known["numpy sgemm + argpartition"] = Entry(NumpySearch, PLAIN)
    return known
