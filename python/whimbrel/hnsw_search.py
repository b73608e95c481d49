"""The searches of HnswIndex for the k nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import as_counts, as_int, as_threads
from ._vector_dtype import as_queries
from .exact import MAX_K
from .hnsw_base import MAX_EF, HnswBase
from .hnsw_results import SearchCounts, SearchResult
from .id_filter import FilterLike, as_filters

__all__ = ["HnswSearch"]


class HnswSearch(HnswBase):
    """An index that can be searched; see `HnswIndex`."""

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        ef_search: int | ArrayLike | None = None,
        recall: float | None = None,
        filter: FilterLike = None,
        exact: bool = False,
        threads: int = 0,
    ) -> SearchResult:
        """Find the approximate `k` nearest vectors of each query.

        Parameters
        ----------
        queries : (q, d) or (d,) array_like of the index's dtype
            Other real dtypes are converted to float32, but none to bytes. Must be finite.
        k : int
            Results per query, at least 1. More than there are: the rest is id -1, distance +inf.
        ef_search : int or (q,) array_like of int, optional
            Beam width on level 0 (`ef` in Malkov and Yashunin, Alg. 2 and 5), for all queries or for each:
            larger is slower and finds more. If None, the index's own. Below `k`, `k` is used.
        recall : float, optional
            Instead of `ef_search`: the beam that `tune` found enough for this recall and `k`, or for more.
        filter : array_like, set, IdFilter, or a sequence of them, optional
            What may be found: ids (unknown ones are ignored), an `IdFilter`, or a boolean for each point, in
            the order of `HnswIndex.ids` at the time of the search. A list or tuple of such filters, in which
            None allows all, or a matrix with one in each row, has one for each query. If `k` points are
            allowed, `k` are found. Where few are allowed all of them are measured; where more are, the beam
            consists of allowed points and reaches across rejected ones [1]_.
        exact : bool
            Measure everything that may be found instead, in the arithmetic of `knn`.
        threads : int
            Worker threads; 0 uses all. Does not change the result.

        Returns
        -------
        SearchResult
            `ids` (q, k) int64 and `distances` (q, k) float32; (k,) for a single query. Distances have the
            same bits for any number of threads and any CPU instruction set. Those of bytes are whole numbers,
            exact up to 2**24 and rounded beyond.

        Raises
        ------
        ValueError
            Wrong shapes, non-finite values, a number out of range, a recall that the index is not tuned for,
            or not as many filters as queries.
        TypeError
            Queries that are not real numbers, or not of the dtype of an index of bytes, or filters that are
            neither integers nor booleans.

        References
        ----------
        .. [1] Patel et al., "ACORN: Performant and Predicate-Agnostic Search Over Vector Embeddings and
           Structured Data", 2024, section 5.2.
        """
        found, single = self._search(queries, k, (ef_search, recall), filter, exact, threads, counted=False)
        return SearchResult(*(a[0] for a in found)) if single else SearchResult(*found)

    def search_with_counts(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        ef_search: int | ArrayLike | None = None,
        recall: float | None = None,
        filter: FilterLike = None,
        exact: bool = False,
        threads: int = 0,
    ) -> tuple[SearchResult, SearchCounts]:
        """Search, and count distance computations and hops of each query: the cost without a clock."""
        found, single = self._search(queries, k, (ef_search, recall), filter, exact, threads, counted=True)
        if single:
            found = tuple(a[0] for a in found)
        return SearchResult(*found[:2]), SearchCounts(*found[2:])

    def _search(
        self,
        queries: ArrayLike,
        k: int,
        beam: tuple[int | ArrayLike | None, float | None],
        filter: FilterLike,
        exact: bool,
        threads: int,
        *,
        counted: bool,
    ) -> tuple[tuple[Any, ...], bool]:
        points, single = as_queries("queries", queries, self._dtype, self.dim)
        k = as_int("k", k, 1, MAX_K)
        ef_search, recall = beam
        efs = None
        if recall is None and ef_search is not None and np.ndim(ef_search) > 0:
            efs = as_counts("ef_search", ef_search, 1, MAX_EF).astype(np.uint32)
            ef_search = None
        found = self._core.search(
            points,
            k,
            self._beam(ef_search, recall, k),
            efs,
            as_filters(filter, len(points)),
            bool(exact),
            as_threads(threads),
            counted,
        )
        return found, single

    def _beam(self, ef_search: object, recall: float | None, k: int) -> int:
        """Return the beam width for the core, 0 for the index's own."""
        if recall is None:
            return 0 if ef_search is None else as_int("ef_search", ef_search, 1, MAX_EF)
        if ef_search is not None:
            raise ValueError(f"recall: expected None beside ef_search={ef_search}, got {recall}")
        return self._core.tuned_ef(float(recall), k)
