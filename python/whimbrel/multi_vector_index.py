"""MultiVectorIndex: late-interaction retrieval by one vector per document, then exact MaxSim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import _core
from ._arrays import MAX_DIM, as_choice, as_int, as_threads
from ._document_ids import DocumentIds
from ._progress import Progress, reporter
from ._ragged import RaggedLike, as_ragged, is_pair
from .hnsw_base import MAX_EF
from .multi_vector_search import MultiVectorSearch
from .order import MAX_SEED
from .set_encoder import SetEncoder, encode, encoding_dim
from .token_store import TOKEN_DTYPES

__all__ = ["MultiVectorIndex"]


class MultiVectorIndex(MultiVectorSearch):
    """Sets of token vectors, found by inner products of encodings and ranked by exact MaxSim [1]_.

    Parameters
    ----------
    dim : int
        Dimension of a token.
    encoder : SetEncoder
        What makes one vector of a set: `FdeEncoder`, or any object with ``encode_documents(sets)``,
        ``encode_queries(sets)`` and ``fingerprint``.
    store : {"f32", "f16", "int8"}
        How tokens are stored; see `TokenStore`.
    M, ef_construction, seed
        Of the graph over the encodings; see `HnswIndex`.

    Notes
    -----
    Any number of searches may run at once; `add` and `remove` of the native part wait for them. Calls that
    change the index from several threads need a lock of the caller's. The same calls give the same index and
    the same results for any number of threads.

    References
    ----------
    .. [1] Jayaram et al., "MUVERA", arXiv 2405.19504, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        encoder: SetEncoder,
        store: str = "f16",
        M: int = 16,
        ef_construction: int = 200,
        *,
        seed: int = 0,
    ) -> None:
        dim = as_int("dim", dim, 1, MAX_DIM)
        self._core = _core.MultiVectorIndex(
            dim,
            encoding_dim(encoder, dim),
            as_choice("store", store, TOKEN_DTYPES),
            as_int("M", M, 2, 512),
            as_int("ef_construction", ef_construction, 1, MAX_EF),
            as_int("seed", seed, 0, MAX_SEED),
        )
        self._encoder = encoder
        self._ids = DocumentIds()
        self._candidates, self._ef_search = 200, 0

    def add(self, docs: RaggedLike, ids: Any = None, *, threads: int = 0, progress: Progress = False) -> None:
        """Append documents: all of them or, if it raises, none.

        Parameters
        ----------
        docs : sets of (t, dim) vectors
            In any form that `maxsim` takes. A document without tokens is kept but never returned.
        ids : (n,) integers or strings, optional
            Unique, of one kind for the whole index, integers not negative. If None, documents are numbered.
            The id of a removed document may be used again.
        threads : int
            Worker threads; 0 uses all. Does not change the index.
        progress : bool or callable
            As in `HnswIndex.add`, in documents that are in the graph.

        Raises
        ------
        ValueError
            Wrong shapes, offsets or values, ids that are in the index or come twice, an index loaded with
            ``mmap=True`` or compressed.
        TypeError
            Arrays that do not hold real numbers, or ids of another kind.
        CancelledError
            If the callback returned False.
        """
        sets = as_ragged("docs", docs, self.dim)
        threads, size = as_threads(threads), self._core.size()
        _core.check_ragged("docs", *sets, threads)
        clean = self._ids.prepare(ids, len(sets.offsets) - 1, size)
        encodings = encode(self._encoder, sets, self.encoding_dim, documents=True)
        with reporter(progress, "documents") as callback:
            self._core.add(encodings, *sets, threads, callback)
        self._ids.append(clean, size)

    def add_batches(self, batches: Iterable[Any], *, threads: int = 0) -> int:
        """Add batches of documents one after another; return how many documents.

        Only one batch of tokens and encodings is in memory beside the index. A batch that raises is not
        added; those before it are.

        Parameters
        ----------
        batches : iterable
            Of documents in any form that `add` takes, or of tuples of such documents and their ids.
        threads : int
            As in `add`.
        """
        before = self._core.size()
        for batch in batches:
            named = isinstance(batch, tuple) and not is_pair(batch)
            docs, ids = batch if named else (batch, None)
            self.add(docs, ids, threads=threads)
        return self._core.size() - before

    def compress(self, *, seed: int = 0, threads: int = 0, progress: Progress = False) -> None:
        """Keep a byte for every 8 coordinates of the encodings, 1/32 of their size, from now on [1]_.

        Codes are those of a product quantizer, trained on the documents of the index. Searches follow the
        links by them and rank exactly as before; a few more candidates make up for what they blur, see
        `tune`. The index takes no more documents then.

        Parameters
        ----------
        seed : int
            Decides which documents the quantizer is trained on.
        threads : int
            Worker threads; 0 uses all. Does not change the codes.
        progress : bool or callable
            As in `add`.

        Raises
        ------
        ValueError
            No documents, or a compressed index.
        """
        seed, threads = as_int("seed", seed, 0, MAX_SEED), as_threads(threads)
        with reporter(progress, "documents") as callback:
            self._core.compress(seed, threads, callback)

    def remove(self, ids: Any) -> None:
        """Never return these documents again; their room is not freed. One id, or several.

        Raises
        ------
        KeyError
            For an id that the index does not have, or no more; nothing is removed then.
        """
        rows = self._ids.rows("ids", ids, self._core.size())
        self._core.remove(rows)
        self._ids.forget(rows)
