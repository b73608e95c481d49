"""TokenStore: the token vectors of a growing collection of documents, in 4, 2 or 1 byte per coordinate."""

from __future__ import annotations

from . import _core
from ._arrays import MAX_DIM, Float32, as_choice, as_int, as_threads
from ._ragged import RaggedLike, as_ragged

__all__ = ["TOKEN_DTYPES", "TokenStore"]

TOKEN_DTYPES = ("f32", "f16", "int8")


class TokenStore:
    """Documents as sets of token vectors, for `maxsim` and its kin.

    Parameters
    ----------
    dim : int
        Dimension of the vectors.
    dtype : {"f32", "f16", "int8"}
        How a coordinate is stored. "int8" has one scale per vector, its largest magnitude / 127. Scores are
        exact for the stored, rounded vectors.

    Notes
    -----
    Documents are numbered 0, 1, ... in the order of addition. Any number of threads may score at once; `add`
    waits for them and they for it.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> store = wb.TokenStore(2, "f16")
    >>> store.add([np.eye(2), [[0.5, 0.5]]])
    >>> wb.maxsim([[1.0, 0.0], [0.0, 1.0]], store)
    array([2., 1.], dtype=float32)
    """

    def __init__(self, dim: int, dtype: str = "f16") -> None:
        self._core = _core.TokenStore(as_int("dim", dim, 1, MAX_DIM), as_choice("dtype", dtype, TOKEN_DTYPES))

    def __len__(self) -> int:
        return self._core.size()

    def __getitem__(self, doc: int) -> Float32:
        """Return the vectors of one document as stored, (t, dim) float32."""
        n = len(self)
        number = as_int("doc", doc, -(2**63), 2**63 - 1)
        if not -n <= number < n:
            raise IndexError(f"doc: expected {-n}..{n - 1}, got {number}")
        return self._core.get(number % n)

    def __repr__(self) -> str:
        return (
            f"<TokenStore of {len(self):,} documents, {self.n_tokens:,} tokens, dim={self.dim}, "
            f"dtype={self.dtype!r}>"
        )

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._core.dim()

    @property
    def dtype(self) -> str:
        """How a coordinate is stored: "f32", "f16" or "int8"."""
        return self._core.dtype()

    @property
    def n_tokens(self) -> int:
        """Vectors of all documents together."""
        return self._core.n_tokens()

    def add(self, docs: RaggedLike, *, threads: int = 0) -> None:
        """Append documents: all of them or, if it raises, none.

        Parameters
        ----------
        docs : sets of (t, dim) vectors
            In any form that `maxsim` takes. A document may be empty. Must be finite.
        threads : int
            Worker threads; 0 uses all.

        Raises
        ------
        ValueError
            Wrong shapes or offsets, non-finite values, or one too large for float16.
        """
        ragged = as_ragged("docs", docs, self.dim)
        self._core.add(ragged.tokens, ragged.offsets, as_threads(threads))

    def memory_usage(self) -> int:
        """Bytes of vectors, scales and offsets in use."""
        return self._core.memory_usage()
