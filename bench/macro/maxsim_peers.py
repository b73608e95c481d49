"""Who computes exact MaxSim: this package, maxsim-cpu, numkong, and NumPy.

Each is held against float64: the largest error of a score as a share of the largest score, and how many of
the ten best documents it names. numkong sums angular distances of unit vectors, which is the number of query
tokens less MaxSim; its documents are packed before the clock starts, and it has one thread.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import neighbors, token_sets
from bench.machine import Row
from bench.macro.race import Contestant, Entry

K = 10


class MaxSimPeer(Contestant):
    """`work` scores every query with every document; (queries, documents)."""

    def __init__(self, dataset: str, folder: Path | None, n: int | None, queries: int, threads: int) -> None:
        self.data = token_sets.load(dataset, folder, n, queries)
        self.queries, self.threads = self.data.queries(), threads
        self.prepare()

    def prepare(self) -> None:
        """Do what does not depend on the queries."""

    @abstractmethod
    def work(self) -> NDArray[Any]:
        """Score all."""

    def facts(self) -> Row:
        scores, truth = self.work(), token_sets.exact_scores(self.data)
        return {
            "items": truth.size,
            "error": float(np.max(np.abs(scores - truth)) / np.max(np.abs(truth))),
            "recall": neighbors.recall(token_sets.best(scores, K), token_sets.best(truth, K)),
        }


class Whimbrel(MaxSimPeer):
    package = "whimbrel"

    def work(self) -> NDArray[Any]:
        import whimbrel as wb

        queries = self.data.query_tokens, self.data.query_offsets
        documents = self.data.tokens, self.data.offsets
        scores: NDArray[Any] = wb.maxsim_matrix(queries, documents, threads=self.threads)
        return scores


class WhimbrelOneByOne(MaxSimPeer):
    """A call for each query, as the others."""

    package = "whimbrel"

    def work(self) -> NDArray[Any]:
        import whimbrel as wb

        documents = self.data.tokens, self.data.offsets
        return np.stack([wb.maxsim(query, documents, threads=self.threads) for query in self.queries])


class MaxsimCpu(MaxSimPeer):
    package = "maxsim-cpu"

    def prepare(self) -> None:
        self.documents = self.data.documents()

    def work(self) -> NDArray[Any]:
        import maxsim_cpu  # type: ignore[import-untyped]

        return np.stack([maxsim_cpu.maxsim_scores_variable(query, self.documents) for query in self.queries])


class Numkong(MaxSimPeer):
    package = "numkong"

    def prepare(self) -> None:
        import numkong

        if self.threads > 1:
            raise ValueError("threads: expected 1, numkong has no others")
        self.packed = [numkong.maxsim_pack(document) for document in self.data.documents()]

    def work(self) -> NDArray[Any]:
        import numkong

        scores = np.empty((len(self.queries), len(self.packed)))
        for row, query in zip(scores, self.queries, strict=True):
            packed = numkong.maxsim_pack(query)
            distances = [numkong.maxsim_packed(packed, document) for document in self.packed]
            row[:] = len(query) - np.asarray(distances)
        return scores


class NumpyMaxSim(MaxSimPeer):
    """As one writes it with NumPy: a product of a query with all tokens, and the largest of each document."""

    package = "numpy"

    def work(self) -> NDArray[Any]:
        starts = self.data.offsets[:-1]
        return np.stack(
            [
                np.maximum.reduceat(query @ self.data.tokens.T, starts, axis=1).sum(axis=0)
                for query in self.queries
            ]
        )


class NumpyProduct(MaxSimPeer):
    """The products alone, query by query: what the maxima come on top of."""

    package = "numpy"

    def work(self) -> NDArray[Any]:
        return np.stack([(query @ self.data.tokens.T)[0, :1] for query in self.queries])

    def facts(self) -> Row:
        return {"items": len(self.queries) * (len(self.data.offsets) - 1), "error": None, "recall": None}


ENTRIES = {
    "whimbrel": Entry(Whimbrel),
    "whimbrel, query by query": Entry(WhimbrelOneByOne),
    "maxsim-cpu": Entry(MaxsimCpu),
    "numkong": Entry(Numkong),
    "numpy": Entry(NumpyMaxSim),
    "numpy sgemm": Entry(NumpyProduct),
}
