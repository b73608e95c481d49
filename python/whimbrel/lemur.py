"""LemurEncoder: encodings fitted to MaxSim by least squares on random features."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import Float32, as_int, as_threads
from ._progress import Progress, reporter
from ._ragged import RaggedLike, as_ragged, as_ragged_or_one
from .order import MAX_SEED

__all__ = ["LemurEncoder"]

TOKENS_PER_FEATURE = 8


class LemurEncoder:
    """Encode a document as the weights that predict its MaxSim from features of query tokens [1]_.

    With ``g(x) = max(x @ document.T)`` MaxSim is the sum of ``g`` over the tokens of a query. A linear model
    of ``g`` over random features of ``x``, fitted on sample tokens, makes it an inner product: the sum of the
    query's features times the document's weights. This is the variant of LEMUR without training.

    Parameters
    ----------
    sample : sets of (t, dim) vectors, or (t, dim) array_like
        Tokens to fit on, as in `maxsim`: those of the documents, or of queries like those to come if there
        are several for each feature. Only directions count. At most ``8 * width`` of them, evenly spaced, are
        used and kept.
    width : int
        Length of an encoding, 2..16,384.
    ridge : float
        Regularization, as a share of the mean eigenvalue of the features' covariance.
    seed : int
        Decides the random features.
    threads : int
        Worker threads; 0 uses all. Does not change the result.
    progress : bool or callable
        As in `knn`.

    Raises
    ------
    ValueError
        No tokens, values that are not finite, a parameter out of range.
    TypeError
        Arrays that do not hold real numbers, or that live on a GPU.

    Notes
    -----
    A document costs a MaxSim with every token of the sample: some milliseconds, where an `FdeEncoder` takes
    microseconds. Encodings have the same bits for any number of threads, batch and instruction set. Safe to
    use from several threads; pickles with its sample.

    References
    ----------
    .. [1] Jääsaari, Hyvönen and Roos, "LEMUR", arXiv 2601.21853, 2026: the variant "ELM".

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> rng = np.random.default_rng(0)
    >>> docs = rng.standard_normal((50, 10, 4))
    >>> encoder = wb.LemurEncoder(docs, width=64)
    >>> scores = encoder.encode_queries(docs[:3]) @ encoder.encode_documents(docs).T
    >>> scores.argmax(axis=1)
    array([0, 1, 2])
    """

    def __init__(
        self,
        sample: RaggedLike,
        width: int = 1024,
        ridge: float = 0.01,
        seed: int = 0,
        *,
        threads: int = 0,
        progress: Progress = False,
    ) -> None:
        tokens = as_ragged_or_one("sample", sample)[0].tokens
        self.dim, self.width = tokens.shape[1], as_int("width", width, 2, 2**14)
        self._ridge, self._seed = float(ridge), as_int("seed", seed, 0, MAX_SEED)
        most = min(len(tokens), TOKENS_PER_FEATURE * self.width)
        chosen = np.linspace(0, max(len(tokens) - 1, 0), most).round().astype(np.int64)
        self._sample = np.ascontiguousarray(tokens[chosen])
        with reporter(progress, "features") as callback:
            self._core = _core.LemurEncoder(
                self._sample, self.width, self._ridge, self._seed, as_threads(threads), callback
            )

    @property
    def fingerprint(self) -> str:
        """A line that says all that an encoding depends on; equal if and only if encodings compare."""
        return self._core.fingerprint()

    def encode_documents(
        self, documents: RaggedLike, *, threads: int = 0, progress: Progress = False
    ) -> Float32:
        """Fit documents' weights: (n, width) float32. A set without tokens becomes zeros.

        Arguments and errors as in `FdeEncoder.encode_documents`.
        """
        return self._encode("documents", documents, threads, progress)

    def encode_queries(self, queries: RaggedLike, *, threads: int = 0, progress: Progress = False) -> Float32:
        """Add up the features of queries' tokens: (q, width) float32."""
        return self._encode("queries", queries, threads, progress)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._sample, self.width, self._ridge, self._seed)

    def __repr__(self) -> str:
        return f"<LemurEncoder: {self.fingerprint}>"

    def _encode(self, name: str, sets: RaggedLike, threads: int, progress: Progress) -> Float32:
        ragged = as_ragged(name, sets, self.dim)
        with reporter(progress, name) as callback:
            return self._core.encode(*ragged, name == "documents", as_threads(threads), callback)
