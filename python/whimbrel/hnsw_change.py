"""Changes of an HnswIndex other than adding: removing, replacing, taking back room, linking anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Int64, as_array, as_int_vector, as_threads
from ._progress import Progress, reporter
from ._vector_dtype import as_vectors
from .hnsw_explore import HnswExplore

__all__ = ["HnswChange"]


class HnswChange(HnswExplore):
    """An index whose points can change; see `HnswIndex`.

    All of this raises ValueError for an index whose vectors are in a mapped file or the caller's array.
    """

    def remove(self, ids: ArrayLike, *, threads: int = 0) -> None:
        """Remove points: no search returns them from now on, and their ids may be used again.

        Their rows stay, as places on the way to others, until as many are gone as an eighth of those that are
        left: then the links of the others are chosen anew without them [1]_. `compact` takes their room back.

        Parameters
        ----------
        ids : (m,) array_like of int, or int
            The same id may come twice.
        threads : int
            Worker threads; 0 uses all. Does not change the graph.

        Raises
        ------
        IndexError
            For an id that the index does not have; then none is removed.

        References
        ----------
        .. [1] Xu et al., "In-Place Updates of a Graph Index for Streaming Approximate Nearest Neighbor
           Search", 2025, Alg. 3.
        """
        self._core.remove(_as_ids(ids), as_threads(threads))

    def update(
        self, ids: ArrayLike, vectors: ArrayLike, *, threads: int = 0, progress: Progress = False
    ) -> None:
        """Give points other vectors: all of them or, if it raises, none.

        A search sees either all of the old vectors or all of the new ones. In the order of `ids` the points
        come last from now on.

        Parameters
        ----------
        ids : (n,) array_like of int
            Each once.
        vectors : (n, d) array_like
            As in `add`.
        threads, progress
            As in `add`.

        Raises
        ------
        IndexError
            For an id that the index does not have.
        ValueError
            Wrong shapes, non-finite values, or an id that comes twice.
        CancelledError
            If the callback returned False.
        """
        rows = as_vectors("vectors", vectors, self._dtype, self.dim)
        numbers, threads = as_int_vector("ids", ids), as_threads(threads)
        with reporter(progress, "vectors") as callback:
            self._core.update(numbers, rows, threads, callback)

    def compact(self, *, threads: int = 0) -> None:
        """Take back the room of removed points.

        Links to them are replaced, as by `remove`, points that nothing leads to get a link, and the rows of
        the others move up in their order, as a copy beside the old ones. Without memory for a copy they move
        in place, and searches wait. Ids stay; what a search finds may differ.
        """
        self._core.compact(as_threads(threads))

    def refine(self, *, threads: int = 0, progress: Progress = False) -> None:
        """Choose the links of all points again, by what the finished graph finds for them [1]_.

        The links of an early point were chosen among the few before it. Afterwards recall depends little on
        the order of insertion, and is often higher for the same number of distances. Takes about three times
        as long as a build; the memory of the index stays the same. Links to removed points are replaced
        first, as by `compact`. Beams that `tune` found are not measured again.

        Parameters
        ----------
        threads, progress
            As in `add`; progress is in points.

        Raises
        ------
        CancelledError
            If the callback returned False; then the links are as before, but for those to removed points.

        References
        ----------
        .. [1] A second pass as in Subramanya et al., "DiskANN: Fast Accurate Billion-point Nearest Neighbor
           Search on a Single Node", 2019, section 2.4.
        """
        threads = as_threads(threads)
        with reporter(progress, "points") as callback:
            self._core.refine(threads, callback)


def _as_ids(ids: ArrayLike) -> Int64:
    return as_int_vector("ids", np.atleast_1d(as_array("ids", ids, "iu")))
