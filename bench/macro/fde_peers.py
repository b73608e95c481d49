"""Who encodes sets of tokens as one vector: this package, fastembed, muvera-python, and NumPy.

Encodings of different libraries differ by definition (random numbers, order of cells, scale), so each is
judged by itself: how many of the ten best documents by exact MaxSim are among the hundred best by its inner
products.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import neighbors, token_sets
from bench.dataset import Float32, Int64
from bench.machine import Row
from bench.macro import matrix_product
from bench.macro.race import Contestant, Entry

K, CANDIDATES = 10, 100
Setting = tuple[int, int, int]  # k_sim, r_reps, d_proj


class FdePeer(Contestant):
    """`work` encodes the first `timed` documents, all of them where a library is fast."""

    timed: int | None = None
    seed: int | None = None  #: None: the library's own default

    def __init__(
        self, dataset: str, folder: Path | None, n: int | None, queries: int, setting: Setting, threads: int
    ) -> None:
        self.data = token_sets.load(dataset, folder, n, queries)
        self.documents, self.few = self.data.documents(), self.data.documents()[: self.timed]
        self.setting, self.threads = setting, threads
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make the encoder of `seed`."""

    def work(self) -> object:
        return self.encode(self.few)

    @abstractmethod
    def encode(self, documents: list[Float32]) -> NDArray[Any]:
        """Encode documents, one row each."""

    @abstractmethod
    def encode_queries(self, queries: list[Float32]) -> NDArray[Any]:
        """Encode queries, one row each."""

    def facts(self) -> Row:
        return {"items": len(self.few), "recall": self.recall(self.truth())}

    def truth(self) -> Int64:
        """The best K documents of each query by exact MaxSim."""
        return token_sets.best(token_sets.exact_scores(self.data), K)

    def recall(self, truth: Int64) -> float:
        """Share of them among the candidates."""
        scores = self.encode_queries(self.data.queries()) @ self.encode(self.documents).T
        return neighbors.recall(token_sets.best(scores, CANDIDATES), truth)


class Whimbrel(FdePeer):
    package = "whimbrel"

    def prepare(self) -> None:
        import whimbrel as wb

        self.encoder = wb.FdeEncoder(self.data.tokens.shape[1], *self.setting, **self.options())

    def options(self) -> dict[str, Any]:
        """Arguments beside the setting."""
        return {"seed": self.seed or 0}

    def work(self) -> object:
        return self.encoder.encode_documents((self.data.tokens, self.data.offsets), threads=self.threads)

    def encode(self, documents: list[Float32]) -> NDArray[Any]:
        encoded: NDArray[Any] = self.encoder.encode_documents(documents, threads=self.threads)
        return encoded

    def encode_queries(self, queries: list[Float32]) -> NDArray[Any]:
        encoded: NDArray[Any] = self.encoder.encode_queries(queries, threads=self.threads)
        return encoded


class WhimbrelMean(Whimbrel):
    """Empty cells get the mean of the nearest tokens, not the first of them."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "fill_empty": "mean"}


class Fastembed(FdePeer):
    """One document a call; a dense projection of signs."""

    package, timed = "fastembed", 20

    def prepare(self) -> None:
        from fastembed.postprocess.muvera import Muvera

        k_sim, r_reps, d_proj = self.setting
        seed = {} if self.seed is None else {"random_seed": self.seed}
        dim = self.data.tokens.shape[1]
        self.encoder = Muvera(dim, k_sim=k_sim, dim_proj=d_proj, r_reps=r_reps, **seed)

    def encode(self, documents: list[Float32]) -> NDArray[Any]:
        return np.stack([self.encoder.process_document(document) for document in documents])

    def encode_queries(self, queries: list[Float32]) -> NDArray[Any]:
        return np.stack([self.encoder.process_query(query) for query in queries])


class MuveraPython(FdePeer):
    """A list of documents a call; a count sketch, as this package."""

    package, timed = "muvera-python", 100

    def prepare(self) -> None:
        from muvera import Muvera

        k_sim, r_reps, d_proj = self.setting
        self.encoder = Muvera(
            num_repetitions=r_reps,
            num_simhash_projections=k_sim,
            dimension=self.data.tokens.shape[1],
            projection_type="ams_sketch",
            projection_dimension=d_proj,
            **({} if self.seed is None else {"seed": self.seed}),
        )

    def encode(self, documents: list[Float32]) -> NDArray[Any]:
        encoded: NDArray[Any] = self.encoder.encode_documents(documents)
        return encoded

    def encode_queries(self, queries: list[Float32]) -> NDArray[Any]:
        encoded: NDArray[Any] = self.encoder.encode_queries(queries)
        return encoded


class NumpyFde(FdePeer):
    """As one writes it with NumPy: no loop over tokens; a dense projection of signs."""

    package, timed = "numpy", 100

    def prepare(self) -> None:
        k_sim, r_reps, d_proj = self.setting
        rng, dim = np.random.default_rng(1 if self.seed is None else self.seed), self.data.tokens.shape[1]
        self.planes, self.thresholds = self.hyperplanes(rng, r_reps * k_sim)
        signs = rng.choice([-1, 1], (dim, r_reps * d_proj)) / np.sqrt(d_proj)
        self.projection = signs.astype(np.float32)
        self.bits = (2 ** np.arange(k_sim)).astype(np.int64)
        cells = np.arange(2**k_sim)
        self.differing = np.bitwise_xor.outer(cells, cells)
        self.differing = np.array([[int(x).bit_count() for x in row] for row in self.differing])

    def hyperplanes(self, rng: np.random.Generator, count: int) -> tuple[Float32, Float32]:
        """Normals, one a column, and what products must exceed."""
        normals = rng.standard_normal((self.data.tokens.shape[1], count)).astype(np.float32)
        return normals, np.zeros(count, np.float32)

    def encode(self, documents: list[Float32]) -> NDArray[Any]:
        return np.stack([self._encode(document, mean=True) for document in documents])

    def encode_queries(self, queries: list[Float32]) -> NDArray[Any]:
        return np.stack([self._encode(query, mean=False) for query in queries])

    def _encode(self, tokens: Float32, mean: bool) -> Float32:
        k_sim, r_reps, d_proj = self.setting
        signs = (tokens @ self.planes > self.thresholds).reshape(-1, r_reps, k_sim)
        cells = signs @ self.bits  # (t, r_reps)
        projected = (tokens @ self.projection).reshape(-1, r_reps, d_proj)
        out = np.zeros((r_reps, 2**k_sim, d_proj), np.float32)
        np.add.at(out, (np.arange(r_reps)[None, :], cells), projected)
        if mean:
            counts = np.zeros((r_reps, 2**k_sim), np.int64)
            np.add.at(counts, (np.arange(r_reps)[None, :], cells), 1)
            out /= np.maximum(counts, 1)[:, :, None]
            repetition, cell = np.nonzero(counts == 0)
            nearest = np.argmin(self.differing[cell[:, None], cells.T[repetition]], axis=1)
            out[repetition, cell] = projected[nearest, repetition]
        return out.ravel()


ENTRIES = {
    "whimbrel": Entry(Whimbrel),
    "whimbrel, filled with means": Entry(WhimbrelMean),
    "fastembed": Entry(Fastembed),
    "muvera-python": Entry(MuveraPython),
    "numpy": Entry(NumpyFde),
    matrix_product.NAME: Entry(matrix_product.Product),
}
