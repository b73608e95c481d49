"""The part of `HnswIndex` that adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from ._arrays import as_int_vector, as_threads
from ._bulk_build import BulkBuild
from ._progress import Progress, reporter
from ._vector_dtype import Vectors, as_vectors
from .hnsw_change import HnswChange
from .order import resolve_order
from .per_row import PerRow

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HnswInsert"]


class HnswInsert(HnswChange):
    """Base of `HnswIndex`; not for use on its own."""

    def add(
        self,
        vectors: ArrayLike,
        ids: ArrayLike | None = None,
        order: str | ArrayLike = "given",
        *,
        labels: ArrayLike | None = None,
        per_row: PerRow | None = None,
        threads: int = 0,
        progress: Progress = False,
    ) -> None:
        """Insert vectors: all of them or, if it raises, none.

        Parameters
        ----------
        vectors : (n, d) array_like of the index's dtype
            Other real dtypes are converted to float32, but none to bytes. Must be finite.
        ids : (n,) array_like of int64, optional
            Not negative, unique, and not in the index yet. If None, the row numbers go on.
        order : str or (n,) array_like of int64
            A name that `named_order` knows ("given", "random", "lid_descending", "lid_ascending",
            "mean_distance_descending", "category"), or a permutation of 0..n-1: the rows in order of
            insertion.
        labels : (n,) array_like, optional
            For ``order="category"``.
        per_row : PerRow, optional
            Levels, beams or links for each row, in place of what the index has for all.
        threads : int
            Worker threads; 0 uses all. Does not change the graph.
        progress : bool or callable
            True shows a bar (tqdm, if installed) or lines on stderr. A callable gets ``(done, total)`` in
            vectors, and cancels by raising or by returning False.

        Raises
        ------
        ValueError
            Wrong shapes, non-finite values, bad ids, order, labels or values by row, or an index that takes
            no changes.
        TypeError
            Arrays that do not hold numbers, not those of an index of bytes, or that live on a GPU.
        CancelledError
            If the callback returned False.
        """
        rows = as_vectors("vectors", vectors, self._dtype, self.dim)
        self._insert(rows, ids, order, labels, per_row, threads, progress)

    def _insert(
        self,
        rows: Vectors,
        ids: ArrayLike | None,
        order: str | ArrayLike,
        labels: ArrayLike | None,
        per_row: PerRow | None,
        threads: int,
        progress: Progress,
        bulk: BulkBuild | None = None,
        copy: bool = True,
    ) -> Self:
        numbers = None if ids is None else as_int_vector("ids", ids)
        threads = as_threads(threads)
        efforts = (per_row or PerRow())._checked(self.M)
        options = {"seed": self.seed, "metric": self.metric, "threads": threads, "progress": progress}
        name, permutation = resolve_order(order, rows, labels, options)
        with reporter(progress, "vectors") as callback:
            if bulk is None:
                add: Callable[..., None] = self._core.add if copy else self._core.add_over
                add(rows, numbers, permutation, efforts, threads, callback)
            else:
                self._core = bulk(rows, numbers, permutation, efforts, threads, callback)
        self._order = name
        return self
