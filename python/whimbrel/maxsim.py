"""Exact late-interaction scores of sets of token vectors: MaxSim, or Chamfer similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import Float32, Int64, as_array, as_int_vector, as_threads
from ._device_sets import are_on_device
from ._device_sets import maxsim_matrix as device_matrix
from ._device_sets import maxsim_pairs as device_pairs
from ._ragged import Ragged, RaggedLike, as_ragged, host_array
from .token_store import TokenStore

__all__ = ["maxsim", "maxsim_matrix", "maxsim_pairs"]


def maxsim(
    query: ArrayLike, docs: RaggedLike | TokenStore, *, normalize: bool = False, threads: int = 0
) -> Any:
    """Score one query with every document: the sum over its tokens of the best inner product [1]_ [2]_.

    Parameters
    ----------
    query : (t, d) array_like of float32
        Token vectors of the query; several queries go to `maxsim_matrix`.
    docs : sets of (t, d) vectors, or TokenStore
        A sequence of n arrays (t_i, d); a tuple ``(tokens, offsets)`` of (T, d) and (n + 1,) integers, where
        document i is ``tokens[offsets[i]:offsets[i + 1]]``; a tuple ``(padded, mask)`` of (n, t, d) and
        (n, t); or one array (n, t, d). Anything with ``__array__`` or ``__dlpack__`` in host memory. With
        `query` on a CUDA device (CuPy, torch): ``(tokens, offsets)`` there, of finite numbers.
    normalize : bool
        Divide by the number of query tokens.
    threads : int
        Worker threads; 0 uses all. Does not change the result.

    Returns
    -------
    (n,) float32
        Larger is better. A document without tokens scores -inf; a query without tokens scores 0 with all
        others. A score that overflows float32 is -inf too.

    Raises
    ------
    ValueError
        Wrong shapes, offsets that do not start at 0, fall, or do not end at T, or values that are not finite.
    TypeError
        Arrays that do not hold real numbers, or that live on a GPU.

    Notes
    -----
    Costs as much as the product of all query tokens with all document tokens. Nothing is padded. The score
    has the same bits for any number of threads, any CPU instruction set and whatever is scored beside it:
    products are found fast, and the largest are computed again in one fixed order of operations. Safe to call
    from several threads; the GIL is released, and Ctrl-C works.

    References
    ----------
    .. [1] Khattab and Zaharia, "ColBERT", 2020, section 3.3.
    .. [2] Jayaram et al., "MUVERA", arXiv 2405.19504, section 1.1: Chamfer similarity.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> docs = [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5]], np.zeros((0, 2))]
    >>> wb.maxsim([[1.0, 0.0], [0.0, 2.0]], docs)
    array([ 3. ,  1.5, -inf], dtype=float32)
    """
    if are_on_device(query, docs):
        return device_matrix(query, docs, normalize)[0]
    tokens = host_array("query", query)
    if tokens.ndim != 2:
        raise ValueError(
            f"query: expected shape (t, d), got {tokens.shape}; several queries go to maxsim_matrix"
        )
    scores: Float32 = _matrix(as_ragged("query", [tokens]), docs, normalize, threads)[0]
    return scores


def maxsim_matrix(
    queries: RaggedLike, docs: RaggedLike | TokenStore, *, normalize: bool = False, threads: int = 0
) -> Any:
    """Score every query with every document; see `maxsim`, whose forms of `docs` the queries have too.

    Returns
    -------
    (q, n) float32

    Examples
    --------
    >>> import whimbrel as wb
    >>> wb.maxsim_matrix([[[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]], [[[1.0, 0.0]], [[0.5, 0.5]]])
    array([[1. , 0.5],
           [1. , 1.5]], dtype=float32)
    """
    if are_on_device(queries, docs):
        return device_matrix(queries, docs, normalize)
    return _matrix(as_ragged("queries", queries), docs, normalize, threads)


def maxsim_pairs(
    queries: RaggedLike,
    docs: RaggedLike | TokenStore,
    pairs: ArrayLike | None = None,
    *,
    candidates: ArrayLike | None = None,
    normalize: bool = False,
    threads: int = 0,
) -> Any:
    """Score chosen pairs of a query and a document; see `maxsim`.

    Parameters
    ----------
    queries, docs : sets of (t, d) vectors
        As in `maxsim`; `docs` may be a TokenStore.
    pairs : (m, 2) array_like of int, optional
        Numbers of a query and a document.
    candidates : (q, c) array_like of int, optional
        For each query its documents; -1 stands for none and scores -inf. Without `pairs` and `candidates`,
        query i is scored with document i.
    normalize, threads
        As in `maxsim`.

    Returns
    -------
    (m,) float32, or (q, c) float32 for `candidates`

    Raises
    ------
    IndexError
        For the number of a query or a document that does not exist.
    ValueError, TypeError
        As in `maxsim`, and for both `pairs` and `candidates`.

    Examples
    --------
    >>> import whimbrel as wb
    >>> queries, docs = [[[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]], [[[1.0, 0.0]], [[0.5, 0.5]]]
    >>> wb.maxsim_pairs(queries, docs, [[0, 1], [1, 1]])
    array([0.5, 1.5], dtype=float32)
    >>> wb.maxsim_pairs(queries, docs, candidates=[[1, -1], [0, 1]])
    array([[ 0.5, -inf],
           [ 1. ,  1.5]], dtype=float32)
    """
    if are_on_device(queries, docs, candidates):
        return device_pairs(queries, docs, candidates, normalize)
    sets = as_ragged("queries", queries)
    n = len(sets.offsets) - 1
    if candidates is not None:
        if pairs is not None:
            raise ValueError("candidates: expected either pairs or candidates, got both")
        lists = as_array("candidates", candidates, "iu")
        if lists.ndim != 2 or len(lists) != n:
            raise ValueError(f"candidates: expected shape ({n}, c), got {lists.shape}")
        offsets = np.arange(n + 1, dtype=np.int64) * lists.shape[1]
        ids = as_int_vector("candidates", lists.ravel())
        return _lists(sets, docs, offsets, ids, normalize, threads).reshape(lists.shape)
    chosen = as_array("pairs", np.stack([np.arange(n)] * 2, axis=1) if pairs is None else pairs, "iu")
    if chosen.ndim != 2 or chosen.shape[1] != 2:
        raise ValueError(f"pairs: expected shape (m, 2), got {chosen.shape}")
    query, doc = (as_int_vector("pairs", column) for column in chosen.T)
    if query.size > 0 and not 0 <= query.min() <= query.max() < n:
        raise IndexError(f"pairs: expected queries 0..{n - 1}, got {query.min()}..{query.max()}")
    order = np.argsort(query, kind="stable")
    offsets = np.searchsorted(query[order], np.arange(n + 1)).astype(np.int64)
    scores = np.empty(len(query), np.float32)
    scores[order] = _lists(sets, docs, offsets, doc[order], normalize, threads)
    return scores


def _matrix(queries: Ragged, docs: RaggedLike | TokenStore, normalize: bool, threads: int) -> Float32:
    options = bool(normalize), as_threads(threads)
    if isinstance(docs, TokenStore):
        return docs._core.maxsim_matrix(*queries, *options)
    return _core.maxsim_matrix(*queries, *as_ragged("docs", docs, queries.tokens.shape[1]), *options)


def _lists(
    queries: Ragged, docs: RaggedLike | TokenStore, offsets: Int64, ids: Int64, normalize: bool, threads: int
) -> Float32:
    options = bool(normalize), as_threads(threads)
    if isinstance(docs, TokenStore):
        return docs._core.maxsim_lists(*queries, offsets, ids, *options)
    return _core.maxsim_lists(
        *queries, *as_ragged("docs", docs, queries.tokens.shape[1]), offsets, ids, *options
    )
