"""Text to vectors for the demo, with numpy alone: TF-IDF, then a truncated singular value decomposition.

Known as latent semantic analysis (Deerwester et al., 1990). The decomposition is randomized, with power
iterations (Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, Alg. 4.4).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import Float32, normalized

__all__ = ["TextEmbedding", "tokens"]

# A word, a part of a CamelCase name, or an acronym.
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
MIN_DOCUMENTS = 3  # a rarer word links too few passages
MAX_SHARE = 0.2  # a more frequent word tells nothing
OVERSAMPLING = 10
POWER_ITERATIONS = 2
ROWS_AT_ONCE = 1024
CONTEXT, CONTEXT_SHARE = 3, 0.3  # words on each side, and the weight of the nearest


class Sparse(NamedTuple):
    """A matrix by its entries, sorted by row; multiplied in dense blocks of rows, as numpy likes it."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.float32]
    shape: tuple[int, int]

    def blocks(self) -> Iterator[tuple[slice, Float32]]:
        """Yield ranges of rows and their dense content."""
        n, m = self.shape
        for i in range(0, n, ROWS_AT_ONCE):
            rows = slice(i, min(n, i + ROWS_AT_ONCE))
            entries = slice(*np.searchsorted(self.rows, (rows.start, rows.stop)))
            dense = np.zeros((rows.stop - i, m), np.float32)
            dense[self.rows[entries] - i, self.cols[entries]] = self.values[entries]
            yield rows, dense

    def times(self, right: Float32) -> Float32:
        """Return ``self @ right``."""
        products = [dense @ right for _, dense in self.blocks()]
        return np.concatenate(products) if products else np.zeros((0, right.shape[1]), np.float32)

    def transposed_times(self, right: Float32) -> Float32:
        """Return ``self.T @ right``."""
        out = np.zeros((self.shape[1], right.shape[1]), np.float32)
        for rows, dense in self.blocks():
            out += dense.T @ right[rows]
        return out


class TextEmbedding:
    """A map from texts to unit vectors, fitted to a corpus; the same corpus and seed give the same map.

    Parameters
    ----------
    texts : sequence of str
    dim : int
        Dimension of the vectors, at most.
    seed : int
        For the random start of the decomposition.
    """

    def __init__(self, texts: Sequence[str], dim: int = 128, seed: int = 0) -> None:
        counts = [Counter(tokens(text)) for text in texts]
        documents = Counter(word for count in counts for word in count)
        kept = sorted(w for w, n in documents.items() if MIN_DOCUMENTS <= n <= MAX_SHARE * len(texts))
        self._column = {word: i for i, word in enumerate(kept)}
        self._idf = np.array([np.log(len(texts) / documents[word]) for word in kept])
        self._basis = _right_singular_vectors(self._weights(counts), dim, seed)

    @property
    def n_words(self) -> int:
        """Words in the vocabulary."""
        return len(self._column)

    def __call__(self, texts: Sequence[str]) -> Float32:
        """Return (n, dim) unit vectors; a text without a known word gives a zero row."""
        return normalized(self._weights([Counter(tokens(text)) for text in texts]).times(self._basis))

    def word_states(self, texts: Sequence[str]) -> list[Float32]:
        """Return for each text (t, dim) unit vectors, one per known word: its own and its neighbors'."""
        words = normalized(np.ascontiguousarray(self._basis))
        states = []
        for text in texts:
            rows = words[[self._column[word] for word in tokens(text) if word in self._column]]
            mixed = rows.copy()
            for distance in range(1, CONTEXT + 1):
                share = np.float32(CONTEXT_SHARE / distance)
                mixed[distance:] += share * rows[:-distance]
                mixed[:-distance] += share * rows[distance:]
            states.append(normalized(mixed))
        return states

    def _weights(self, counts: Sequence[Counter[str]]) -> Sparse:
        """TF-IDF with sublinear term frequency, (1 + log tf) * log(n / df), in rows of unit length."""
        entries = [
            (row, self._column[word], n)
            for row, count in enumerate(counts)
            for word, n in count.items()
            if word in self._column
        ]
        rows, cols, tf = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        values = (1 + np.log(tf)) * self._idf[cols]
        norms = np.sqrt(np.bincount(rows, weights=values**2, minlength=len(counts)))
        shape = len(counts), len(self._column)
        return Sparse(rows, cols, (values / norms[rows]).astype(np.float32), shape)


def tokens(text: str) -> list[str]:
    """Lower-case words without a plural s; names in camel or snake case are split."""
    words = (word.lower() for word in WORD.findall(text))
    return [
        w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in words if len(w) > 1
    ]


def _right_singular_vectors(matrix: Sparse, dim: int, seed: int) -> Float32:
    width = min(dim + OVERSAMPLING, *matrix.shape)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], width), dtype=np.float32)
    q = _left_singular_vectors(matrix.times(start))
    for _ in range(POWER_ITERATIONS):
        q = _left_singular_vectors(matrix.transposed_times(q))
        q = _left_singular_vectors(matrix.times(q))
    return _left_singular_vectors(matrix.transposed_times(q))[:, :dim]


def _left_singular_vectors(tall: Float32) -> Float32:
    """Return them in descending order, without those of vanishing singular values.

    By way of the small Gram matrix: less exact than a decomposition of the tall one, exact enough here, and
    many times faster where the threads of a BLAS must share their processors.
    """
    exact = tall.astype(np.float64)
    squares, vectors = np.linalg.eigh(exact.T @ exact)
    kept = squares > 1e-10 * squares[-1]
    return np.asarray(exact @ (vectors[:, kept] / np.sqrt(squares[kept])), dtype=np.float32)[:, ::-1]
