"""The part of `MultiVectorIndex` that neither adds nor searches: what it holds, saving and loading."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arrays import as_int
from ._document_ids import DocumentIds
from ._saved_index import path_bytes
from .exact import MAX_K
from .hnsw_base import MAX_EF
from .set_encoder import SetEncoder, encoding_dim

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MultiVectorBase"]


class MultiVectorBase:
    """Base of `MultiVectorIndex`; not for use on its own."""

    _core: _core.MultiVectorIndex
    _ids: DocumentIds
    _encoder: SetEncoder
    _candidates: int
    _ef_search: int

    def __len__(self) -> int:
        return self._core.n_alive()

    def __contains__(self, id: Any) -> bool:
        return bool(self._ids.rows("id", [id], self._core.size(), missing=True).size)

    def __repr__(self) -> str:
        p = self._core.params()
        return (
            f"<MultiVectorIndex of {len(self):,} documents, {self._core.n_tokens():,} tokens, "
            f"dim={p['dim']}, store={p['store']!r}, encoding_dim={p['encoding_dim']}, M={p['M']}>"
        )

    @property
    def dim(self) -> int:
        """Dimension of a token."""
        return self._core.params()["dim"]

    @property
    def encoding_dim(self) -> int:
        """Dimension of the encodings."""
        return self._core.params()["encoding_dim"]

    @property
    def store(self) -> str:
        """How tokens are stored: "f32", "f16" or "int8"."""
        return self._core.params()["store"]

    @property
    def compressed(self) -> bool:
        """Whether encodings are codes; see `MultiVectorIndex.compress`."""
        return self._core.compressed()

    @property
    def encoder(self) -> SetEncoder:
        """What makes one vector of a set."""
        return self._encoder

    @property
    def candidates(self) -> int:
        """Documents that a search ranks exactly if it does not say how many; `tune` sets it."""
        return self._candidates

    @property
    def ef_search(self) -> int:
        """Beam width of a search that does not name one, 0 for as many as it needs; `tune` sets it."""
        return self._ef_search

    def memory_usage(self) -> int:
        """Bytes of graph, encodings and tokens in use; without the tokens if they stay in a file."""
        return self._core.memory_usage()

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write the index to a path: a temporary file beside it, synced and renamed.

        The encoder is not saved, but its fingerprint is.

        Raises
        ------
        OSError
            Of the fitting kind, with its `filename`.
        """
        facts = {
            "encoder": self._encoder.fingerprint,
            "ids": self._ids.ids,
            "candidates": self._candidates,
            "ef_search": self._ef_search,
        }
        self._core.save(path_bytes(path), json.dumps(facts, separators=(",", ":")).encode())

    @classmethod
    def load(cls, path: str | bytes | os.PathLike[Any], encoder: SetEncoder, *, mmap: bool = False) -> Self:
        """Read an index from a path.

        Parameters
        ----------
        path : path-like
        encoder : SetEncoder
            The one with which the index was made, or its equal.
        mmap : bool
            Leave the tokens in the file, which must stay as it is (`save` replaces a file and does not change
            it). Such an index takes no more documents. The file is read once, to verify it.

        Raises
        ------
        FormatError
            If it is not a whole, undamaged index of a known version.
        ValueError
            If the encoder has another fingerprint than the one of the index.
        OSError
            If it cannot be read.
        """
        core, metadata = _core.MultiVectorIndex.load(path_bytes(path), bool(mmap))
        try:
            facts = json.loads(metadata)
            ids = facts["ids"]
            numbers = (
                as_int("candidates", facts["candidates"], 1, MAX_K),
                as_int("ef_search", facts["ef_search"], 0, MAX_EF),
            )
            fingerprint = str(facts["encoder"])
            kinds = {type(id) for id in ids or []}
            if ids is not None and (len(ids) != core.size() or len(kinds) > 1 or not kinds <= {int, str}):
                raise ValueError("ids do not fit")
        except (ValueError, KeyError, TypeError) as error:
            raise _core.FormatError(f"file: expected metadata of an index, got {error!r}") from None
        if encoder.fingerprint != fingerprint:
            raise ValueError(f"encoder: expected {fingerprint!r}, got {encoder.fingerprint!r}")
        width = encoding_dim(encoder, core.params()["dim"])
        if width != core.params()["encoding_dim"]:
            raise ValueError(f"encoder: expected width {core.params()['encoding_dim']}, got {width}")
        index = cls.__new__(cls)
        gone = np.flatnonzero(core.removed()).tolist()
        index._core, index._ids, index._encoder = core, DocumentIds(ids, gone), encoder
        index._candidates, index._ef_search = numbers
        return index
