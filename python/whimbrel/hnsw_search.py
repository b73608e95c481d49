"""The searches of HnswIndex."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ._arrays import as_int, as_queries, as_threads
from .exact import MAX_K
from .hnsw_base import MAX_EF, HnswBase
from .hnsw_results import SearchCounts, SearchResult

__all__ = ["HnswSearch"]


class HnswSearch(HnswBase):
    """An index that can be searched; see `HnswIndex`."""

    def search(
        self, queries: ArrayLike, k: int = 10, *, ef_search: int | None = None, threads: int = 0
    ) -> SearchResult:
        """Find the approximate `k` nearest vectors of each query.

        Parameters
        ----------
        queries : (q, d) or (d,) array_like of float32
            Other real dtypes are converted. Must be finite.
        k : int
            Results per query, at least 1. More than there are: the rest is id -1, distance +inf.
        ef_search : int, optional
            Beam width on level 0 (`ef` in Malkov and Yashunin, Alg. 2 and 5): larger is slower and finds
            more. If None,
            the index's own. Below `k`, `k` is used.
        threads : int
            Worker threads; 0 uses all. Does not change the result.

        Returns
        -------
        SearchResult
            `ids` (q, k) int64 and `distances` (q, k) float32; (k,) for a single query. Distances have the
            same bits for any number of threads and any CPU instruction set.

        Raises
        ------
        ValueError
            Wrong shapes, non-finite values, or a number out of range.
        """
        points, single = as_queries("queries", queries, self.dim)
        found = self._core.search(points, *_search_params(k, ef_search, threads), False)
        return SearchResult(*(a[0] for a in found)) if single else SearchResult(*found)

    def search_with_counts(
        self, queries: ArrayLike, k: int = 10, *, ef_search: int | None = None, threads: int = 0
    ) -> tuple[SearchResult, SearchCounts]:
        """Search, and count distance computations and hops of each query: the cost without a clock."""
        points, single = as_queries("queries", queries, self.dim)
        found = self._core.search(points, *_search_params(k, ef_search, threads), True)
        if single:
            found = tuple(a[0] for a in found)
        return SearchResult(*found[:2]), SearchCounts(*found[2:])


def _search_params(k: int, ef_search: int | None, threads: int) -> tuple[int, int, int]:
    ef = 0 if ef_search is None else as_int("ef_search", ef_search, 1, MAX_EF)  # 0: the index's own
    return as_int("k", k, 1, MAX_K), ef, as_threads(threads)
