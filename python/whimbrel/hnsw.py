"""HnswIndex: approximate nearest neighbors by a hierarchical navigable small world graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, DTypeLike

from . import _core
from ._arrays import CODECS, MAX_DIM, METRICS, as_choice, as_int
from ._bulk_build import bulk_build
from ._progress import Progress
from ._rows_in_place import as_rows_in_place
from ._vector_dtype import as_dtype, as_vectors
from .hnsw_base import MAX_EF
from .hnsw_insert import HnswInsert
from .order import MAX_SEED
from .per_row import PerRow

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HnswIndex"]

RERANKS = ("f32", "f16", "none")


class HnswIndex(HnswInsert):
    """Graph for approximate nearest neighbor search [1]_ that lets you choose the order of insertion.

    Parameters
    ----------
    dim : int
        Dimension of the vectors.
    metric : {"l2", "ip", "cosine"}
        As in `knn`. With "cosine" the vectors are stored normalized.
    M : int
        Links of a node on the upper levels, twice as many on level 0; 2 to 512. 12 to 32 suits most data.
    ef_construction : int
        Beam width of the search for a new node's candidates, 1 to 1,000,000: larger builds slower and finds
        more.
    ef_search : int
        Beam width of a search that does not name one.
    seed : int
        Decides the level of each row, whatever the order, and the orders "random" and "category".
    batch_growth : float
        How much the graph may grow per batch of points that are searched for in parallel, at least 1, which
        inserts strictly one at a time.
    keep_pruned : bool
        Fill level-0 lists with the nearest of the pruned candidates.
    codec : {"f32", "f16", "sq8", "sq4", "auto"}
        What a search measures on its way through the graph: the vectors, the vectors kept in float16, or
        codes of a byte per coordinate or half a byte (a byte all the same where whole lines of 64 bytes make
        that no longer), which take a quarter or an eighth of the memory traffic and add as much to the
        memory. Candidates are measured again on the vectors, so distances do not depend on codes. "auto"
        tries on a sample which codes keep neighborhoods: the narrowest that do, of a projection (principal
        components) or of the vectors in 8 or 4 bits, or none. Codes are learned by the `add` that brings the
        index to 1,024 vectors ("auto": 8,192), and again by one that finds four times the vectors they were
        learned from.
    rerank : {"f32", "f16", "none"}, optional
        In which form the vectors are kept. "f16", for codes, halves their memory, and distances are those of
        the vectors rounded to float16. By default "f16" with ``codec="f16"``, else "f32". With "none" they
        are dropped as soon as there are codes ("sq8", "sq4" or "auto"), which are never learned again, so let
        the first `add` bring enough typical vectors: distances, with ``exact=True`` too, are those of what
        the codes stand for, and so is what `get_vectors` returns. Where codes would not do, the vectors stay.
    dtype : {"float32", "int8", "uint8"}
        What vectors and queries consist of. Bytes are kept as they are, in a quarter of the room, and
        compared in whole numbers, by "l2" or "ip", without a codec, up to 32,768 of them. For "cosine", scale
        to equal length before rounding to bytes, and use "ip".

    Raises
    ------
    ValueError
        A parameter out of range.

    Notes
    -----
    The same vectors, order, seed, parameters and sequence of calls give the same bytes from `dumps`, for
    any number of threads. Where construction measures codes (in an index of 512 vectors or more that grows
    by an eighth or more, unless codes would blur its neighborhoods), they do not depend on the CPU
    instruction set either, else rounding may decide a few links; the distances that are returned never
    differ. Any number of searches may run at once and beside one change: they see all of an `add` or
    `update` or nothing of it, and a `remove` 1,024 points at a time. A second change waits for the first,
    and so do `save`, `stats` and `validate`. All calls release the GIL. A progress callback must not use
    the index it reports on.

    References
    ----------
    .. [1] Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
       navigable small world graphs", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> data = np.random.default_rng(0).random((1000, 8), dtype=np.float32)
    >>> index = wb.HnswIndex.build(data, M=8, order="lid_descending")
    >>> index
    <HnswIndex of 1,000 vectors, dim=8, metric='l2', M=8, ef_construction=200, ef_search=64>
    >>> hits = index.search(data[:3], k=2)
    >>> hits.ids[:, 0]
    array([0, 1, 2])
    >>> len(wb.HnswIndex.loads(index.dumps()))
    1000
    """

    def __init__(
        self,
        dim: int,
        metric: str = "l2",
        M: int = 16,
        ef_construction: int = 200,
        *,
        ef_search: int = 64,
        seed: int = 0,
        batch_growth: float = 2.0,
        keep_pruned: bool = True,
        codec: str = "f32",
        rerank: str | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        self._core = _core.HnswIndex(
            as_int("dim", dim, 1, MAX_DIM),
            as_choice("metric", metric, METRICS),
            as_int("M", M, 2, 512),
            as_int("ef_construction", ef_construction, 1, MAX_EF),
            as_int("ef_search", ef_search, 1, MAX_EF),
            as_int("seed", seed, 0, MAX_SEED),
            float(batch_growth),
            bool(keep_pruned),
            as_choice("codec", codec, CODECS),
            as_choice("rerank", rerank or ("f16" if codec == "f16" else "f32"), RERANKS),
            as_dtype(dtype),
        )

    @classmethod
    def build(
        cls,
        vectors: ArrayLike,
        ids: ArrayLike | None = None,
        metric: str = "l2",
        M: int = 16,
        ef_construction: int = 200,
        order: str | ArrayLike = "given",
        *,
        labels: ArrayLike | None = None,
        per_row: PerRow | None = None,
        ef_search: int = 64,
        seed: int = 0,
        batch_growth: float = 2.0,
        keep_pruned: bool = True,
        codec: str = "f32",
        rerank: str | None = None,
        dtype: DTypeLike = "float32",
        candidates: str = "graph",
        copy: bool = True,
        device: str | None = None,
        threads: int = 0,
        progress: Progress = False,
    ) -> Self:
        """Make an index of `vectors`: the constructor, then `add`, whose parameters these are.

        With ``candidates="exact"`` a point chooses among exactly the `ef_construction` nearest points before
        it, all at once, in time that grows with the square of the points; "graph" searches what is built.
        ``device="cuda"`` does that on a GPU, with the same graph (`ef_construction` at most 1024).

        With ``copy=False`` the index keeps links and ids only and reads `vectors` where they are, which it
        keeps alive: an ndarray of float32 (a memmap too) whose rows are in one piece each, any distance
        apart; with "cosine" of length 1, and not with ``rerank="f16"``. Who changes the array in place gets
        other results, but never a crash. Such an index takes no changes. `save`, `dumps` and pickling make a
        complete copy; ``save(path, vectors=False)`` leaves the vectors out. Building takes a byte per
        coordinate and a sample of 4,096 vectors for a while.

        Raises
        ------
        ValueError, TypeError, CancelledError
            As the constructor and `add`; also ValueError for other `candidates`, for a `device` without
            "exact" ones, and for what "exact" or ``copy=False`` cannot be combined with.
        CudaError
            If there is no such device.
        """
        rows = (
            as_vectors("vectors", vectors, as_dtype(dtype)) if copy else as_rows_in_place("vectors", vectors)
        )
        params: dict[str, Any] = {"ef_search": ef_search, "seed": seed, "batch_growth": batch_growth}
        params |= {"keep_pruned": keep_pruned, "codec": codec, "rerank": rerank, "dtype": dtype}
        index = cls(rows.shape[1], metric, M, ef_construction, **params)
        bulk = bulk_build(index._core, candidates, device, copy)
        return index._insert(rows, ids, order, labels, per_row, threads, progress, bulk, copy)
