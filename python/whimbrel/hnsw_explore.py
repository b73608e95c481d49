"""The other searches of HnswIndex: within a radius, of all its points, batch after batch; and tuning."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ._arrays import as_int, as_threads
from ._progress import Progress, reporter
from ._vector_dtype import as_queries, as_vectors
from .exact import MAX_K
from .hnsw_iterator import SearchIterator
from .hnsw_results import KnnGraph, RangeResult, TunedEf
from .hnsw_search import HnswSearch
from .id_filter import FilterLike, as_filters

__all__ = ["HnswExplore"]


class HnswExplore(HnswSearch):
    """An index that can be explored; see `HnswIndex`."""

    def range_search(
        self,
        queries: ArrayLike,
        radius: float,
        *,
        ef_search: int | None = None,
        filter: FilterLike = None,
        exact: bool = False,
        threads: int = 0,
    ) -> RangeResult:
        """Find the points whose distance to a query is below `radius`.

        The beam is doubled until a quarter of what it holds lies beyond the radius.

        Parameters
        ----------
        queries : (q, d) or (d,) array_like
            As in `search`.
        radius : float
            In the units of the metric: a squared distance for "l2". For "ip", whose distance is the negated
            product, the points with a product above ``-radius``.
        ef_search : int, optional
            Beam width to begin with. A larger one finds more of them.
        filter, exact, threads
            As in `search`.

        Returns
        -------
        RangeResult
            Hits of each query, nearest first, between its `offsets`.

        Raises
        ------
        ValueError
            As `search` does, or if the radius is NaN.
        """
        points, _ = as_queries("queries", queries, self._dtype, self.dim)
        filters = as_filters(filter, len(points))
        ef = self._beam(ef_search, None, 1)
        return RangeResult(
            *self._core.range_search(points, float(radius), ef, filters, bool(exact), as_threads(threads))
        )

    def knn_graph(
        self,
        k: int = 10,
        *,
        ef_search: int | None = None,
        recall: float | None = None,
        filter: FilterLike = None,
        exact: bool = False,
        threads: int = 0,
        progress: Progress = False,
    ) -> KnnGraph:
        """Find the approximate `k` nearest other points of every point of the index.

        Parameters
        ----------
        k : int
            Neighbors of a point, at least 1.
        ef_search, recall, exact, threads
            As in `search`.
        filter : array_like, set or IdFilter, optional
            What may be a neighbor, for all points; every point gets neighbors all the same.
        progress : bool or callable
            As in `add`, in points.

        Returns
        -------
        KnnGraph
            All of one state of the index: changes wait for it, searches do not.

        Raises
        ------
        ValueError
            As `search` does.
        CancelledError
            If the callback returned False.
        """
        k = as_int("k", k, 1, MAX_K)
        ef, filters, threads = self._beam(ef_search, recall, k), as_filters(filter, 1), as_threads(threads)
        with reporter(progress, "points") as callback:
            return KnnGraph(*self._core.knn_graph(k, ef, filters, bool(exact), threads, callback))

    def search_iterator(
        self, query: ArrayLike, batch_size: int = 10, *, filter: FilterLike = None, threads: int = 0
    ) -> SearchIterator:
        """Find the nearest points of one query batch after batch, for as long as more are wanted.

        Parameters
        ----------
        query : (d,) array_like
            As in `search`.
        batch_size : int
            Points in a batch, at least 1; the last one may have fewer.
        filter, threads
            As in `search`.

        Returns
        -------
        SearchIterator
            It gives a `SearchResult` at a time: distances never decrease, from batch to batch either, and no
            id comes twice.

        Raises
        ------
        ValueError
            As `search` does.
        """
        return SearchIterator(self, query, batch_size, filter, threads)

    def tune(
        self, queries: ArrayLike | None = None, recall: float = 0.95, k: int = 10, *, threads: int = 0
    ) -> TunedEf:
        """Find the smallest beam that reaches a recall, and keep it for ``search(..., recall=...)``.

        Recall is measured against exact searches. It is kept with the index and in its files, beside what was
        tuned for other recalls and `k`, until it is tuned for the same again. The beam that a recall needs
        grows with the index.

        Parameters
        ----------
        queries : (q, d) array_like, optional
            Like those to come; some hundreds make a reliable choice. If None, 256 points of the index take
            their place, evenly spread over its rows, each searched for in the graph without that point: no
            step of the search goes through it, and it is no neighbor. Queries that are not distributed as the
            points are, as questions among passages, need a wider beam than these.
        recall : float
            Mean share of the true `k` nearest that must be found, above 0 and at most 1.
        k : int
            Results per query.
        threads : int
            Worker threads; 0 uses all. Does not change the choice.

        Returns
        -------
        TunedEf
            What was chosen, and the recall that was measured.

        Raises
        ------
        ValueError
            Wrong shapes, non-finite values, numbers out of range, no queries or points, or a recall that no
            beam reaches.
        """
        rows = None if queries is None else as_vectors("queries", queries, self._dtype, self.dim)
        k, threads = as_int("k", k, 1, MAX_K), as_threads(threads)
        return TunedEf(*self._core.tune(rows, float(recall), k, threads))

    @property
    def tuned(self) -> tuple[TunedEf, ...]:
        """What `tune` found, ordered by `k` and recall."""
        return tuple(TunedEf(*t) for t in self._core.tuned())
