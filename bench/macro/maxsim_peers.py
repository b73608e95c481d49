"""Who computes exact MaxSim: this package, maxsim-cpu, numkong, and NumPy.

Each is held against float64: the largest error of a score as a share of the largest score, and how many of
the ten best documents it names. numkong sums angular distances of unit vectors, which is the number of query
tokens less MaxSim; its documents are packed before the clock starts, and it has one thread. It chooses the
nearest token by coarse codes and keeps that choice, so that its scores may be too small.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import neighbors, token_sets
from bench.machine import Row
from bench.macro import matrix_product
from bench.macro.race import Contestant, Entry
from bench.token_sets import TokenSet

K = 10
USES = {"a query of 7 tokens": 7, "a query of 32 tokens": 32, "all queries": None}


def used(data: TokenSet, use: str) -> TokenSet:
    """The set with the queries of a use; of a single one, the first tokens of all."""
    length = USES[use]
    if length is None:
        return data
    tokens = data.query_tokens[:length].copy()
    return replace(data, query_tokens=tokens, query_offsets=np.array([0, len(tokens)]))


class MaxSimPeer(Contestant):
    """`work` scores every query of a use with every document; (queries, documents)."""

    def __init__(
        self, dataset: str, folder: Path | None, n: int | None, queries: int, use: str, threads: int
    ) -> None:
        self.data = used(token_sets.load(dataset, folder, n, queries), use)
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
    """One call for all queries."""

    package = "whimbrel"

    def work(self) -> NDArray[Any]:
        import whimbrel as wb

        queries = self.data.query_tokens, self.data.query_offsets
        scores: NDArray[Any] = wb.maxsim_matrix(queries, self.documents(), threads=self.threads)
        return scores

    def documents(self) -> Any:
        """As they were given: arrays."""
        return self.data.tokens, self.data.offsets


class WhimbrelStore(Whimbrel):
    """The same over a TokenStore."""

    dtype = "f32"

    def prepare(self) -> None:
        import whimbrel as wb

        self.store = wb.TokenStore(self.data.tokens.shape[1], self.dtype)
        self.store.add((self.data.tokens, self.data.offsets))

    def documents(self) -> Any:
        return self.store


class WhimbrelF16(WhimbrelStore):
    dtype = "f16"


class WhimbrelInt8(WhimbrelStore):
    dtype = "int8"


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


ENTRIES = {
    "whimbrel": Entry(Whimbrel),
    "whimbrel, store f32": Entry(WhimbrelStore),
    "whimbrel, store f16": Entry(WhimbrelF16),
    "whimbrel, store int8": Entry(WhimbrelInt8),
    "maxsim-cpu": Entry(MaxsimCpu),
    "numkong": Entry(Numkong),
    "numpy": Entry(NumpyMaxSim),
    matrix_product.NAME: Entry(matrix_product.Product),
}
