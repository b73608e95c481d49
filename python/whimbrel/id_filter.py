"""IdFilter: which points a search may return, and the other forms in which searches take that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import as_array, as_int_vector
from ._core import IdFilter as CoreFilter

__all__ = ["FilterLike", "IdFilter", "as_filters"]


class IdFilter:
    """Ids that a search may return, kept for many searches.

    The first search looks each id up in its index, and so does the first one after the index changed; the
    others find this done. One filter may be used in any number of threads.

    Parameters
    ----------
    ids : (m,) array_like or set of int
        In any order. Ids that the index does not have at the time of a search are ignored.

    Raises
    ------
    ValueError, TypeError
        If it is not one-dimensional, or not of integers.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> index = wb.HnswIndex.build(np.arange(10.0)[:, None])
    >>> even = wb.IdFilter(range(0, 10, 2))
    >>> index.search([4.9], k=3, filter=even).ids
    array([4, 6, 2])
    """

    def __init__(self, ids: ArrayLike | Iterable[int]) -> None:
        values: Any = list(ids) if isinstance(ids, (set, frozenset)) else ids
        self._core = CoreFilter(as_int_vector("ids", values))


FilterLike: TypeAlias = IdFilter | ArrayLike | Iterable[int] | Sequence[Any] | None


def as_filters(filter: FilterLike, n_queries: int) -> list[CoreFilter | None]:
    """Return what the core takes: nothing, one filter, or one per query."""
    if filter is None:
        return []
    if isinstance(filter, (list, tuple)) and any(not np.isscalar(f) for f in filter):
        if len(filter) != n_queries:
            raise ValueError(f"filter: expected one per query, {n_queries}, got {len(filter)}")
        # The same object for several queries is compiled once.
        compiled = {id(f): _as_filter(f) for f in filter}
        return [compiled[id(f)] for f in filter]
    if isinstance(filter, np.ndarray) and filter.ndim == 2:
        return as_filters(list(filter), n_queries)
    return [_as_filter(filter)]


def _as_filter(filter: Any) -> CoreFilter | None:
    if filter is None:
        return None
    if isinstance(filter, IdFilter):
        return filter._core
    values = as_array("filter", list(filter) if isinstance(filter, (set, frozenset)) else filter, "biu")
    if values.dtype.kind != "b":
        return CoreFilter(as_int_vector("filter", values))
    if values.ndim != 1:
        raise ValueError(f"filter: expected shape (n,), got {values.shape}")
    return CoreFilter.from_places(np.ascontiguousarray(values, np.uint8))
