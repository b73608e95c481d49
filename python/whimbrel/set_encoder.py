"""The protocol of what turns sets of token vectors into one vector each, for `MultiVectorIndex`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ._arrays import Float32, as_matrix
from ._ragged import Ragged

__all__ = ["SetEncoder", "encode", "encoding_dim"]


class SetEncoder(Protocol):
    """Any object whose inner products of encodings tell good candidates, `FdeEncoder` for one.

    An encoding must depend on its set alone: not on what else is in the batch.
    """

    @property
    def fingerprint(self) -> str:
        """A text that is the same for two encoders only if their encodings are."""

    def encode_documents(self, sets: Any) -> Any:
        """Return encodings of documents, (n, D) array_like.

        Parameters
        ----------
        sets : named tuple (tokens, offsets)
            Set i is the rows ``offsets[i]`` to ``offsets[i + 1]`` of `tokens`, float32. There may be none.
        """

    def encode_queries(self, sets: Any) -> Any:
        """Return encodings of queries, (q, D), whose inner products with those of documents count."""


def encode(encoder: SetEncoder, sets: Ragged, dim: int, *, documents: bool) -> Float32:
    """Let the encoder encode, and check the shape of what it returns."""
    found = encoder.encode_documents(sets) if documents else encoder.encode_queries(sets)
    rows = as_matrix("encodings", found, dim)
    if len(rows) != len(sets.offsets) - 1:
        raise ValueError(
            f"encodings: expected one per set, shape ({len(sets.offsets) - 1}, {dim}), got {rows.shape}"
        )
    return rows


def encoding_dim(encoder: SetEncoder, dim: int) -> int:
    """Width of the encodings: what the encoder makes of no sets at all."""
    nothing = Ragged(np.zeros((0, dim), np.float32), np.zeros(1, np.int64))
    width: int = as_matrix("encodings", encoder.encode_documents(nothing)).shape[1]
    return width
