"""The nearest points of a query, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import as_int
from ._vector_dtype import as_queries
from .exact import MAX_K
from .hnsw_base import MAX_EF
from .hnsw_results import SearchResult
from .id_filter import FilterLike, IdFilter

if TYPE_CHECKING:
    from .hnsw_search import HnswSearch

__all__ = ["SearchIterator"]


class SearchIterator(Iterator[SearchResult]):
    """Batches of the nearest points of one query; made by `HnswIndex.search_iterator`.

    Distances never decrease and no id comes twice. Each time the results run out they are searched for again,
    twice as many; what such a search finds nearer than the last point given is left out, as the narrower
    search before it had missed it. Points that are added or removed meanwhile are taken into account then.
    """

    def __init__(
        self, index: HnswSearch, query: ArrayLike, batch_size: int, filter: FilterLike, threads: int
    ) -> None:
        points, single = as_queries("query", query, index._dtype, index.dim)
        if not single:
            raise ValueError(f"query: expected shape ({index.dim},), got {points.shape}")
        self._index, self._query, self._threads = index, points[0], threads
        self._batch_size = as_int("batch_size", batch_size, 1, MAX_K)
        self._filter = filter
        self._ready = SearchResult(np.empty(0, np.int64), np.empty(0, np.float32))
        self._last = (-np.inf, -1)
        self._given: set[int] = set()
        self._k = self._batch_size
        self._search()
        if filter is not None and not isinstance(filter, IdFilter):
            allowed = np.array(list(filter) if isinstance(filter, (set, frozenset)) else filter)
            # Places are those of the points of now.
            self._filter = IdFilter(index.ids[allowed] if allowed.dtype.kind == "b" else allowed)

    def __next__(self) -> SearchResult:
        """Return the next batch, (b,) ids and distances."""
        while len(self._ready.ids) < self._batch_size and self._k < len(self._index) and self._k < MAX_K:
            self._k = min(2 * self._k, MAX_K)
            self._search()
        ids, distances = self._ready
        n = self._batch_size
        batch, self._ready = SearchResult(ids[:n], distances[:n]), SearchResult(ids[n:], distances[n:])
        if len(batch.ids) == 0:
            raise StopIteration
        self._last = (float(batch.distances[-1]), int(batch.ids[-1]))
        self._given.update(batch.ids.tolist())
        return batch

    def _search(self) -> None:
        ids, distances = self._index.search(
            self._query,
            self._k,
            ef_search=min(2 * self._k, MAX_EF),
            filter=self._filter,
            threads=self._threads,
        )
        distance, id = self._last
        later = (distances > distance) | ((distances == distance) & (ids > id))
        fresh = (ids >= 0) & later & ~np.isin(ids, list(self._given))
        self._ready = SearchResult(ids[fresh], distances[fresh])
