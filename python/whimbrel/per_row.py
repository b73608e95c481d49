"""What each row deserves while an index is built: its level, its beam and its links."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import as_counts
from .hnsw_base import MAX_EF, MAX_LEVEL

__all__ = ["PerRow"]


class PerRow(NamedTuple):
    """Options of `HnswIndex.add` by row, to study which points deserve more; None: the same for all.

    Parameters
    ----------
    levels : (n,) array_like of int, optional
        Highest level of each row, 0 to 63, in place of a random one.
    ef_construction : (n,) array_like of int, optional
        Beam width of the search for its candidates. Not with ``candidates="exact"``.
    links : (n,) array_like of int, optional
        How many of them it may choose, 1 to 2 M, in place of M; on upper levels at most M. Its list holds
        2 M in any case: also those that chose it. Not with ``candidates="exact"``.
    """

    levels: ArrayLike | None = None
    ef_construction: ArrayLike | None = None
    links: ArrayLike | None = None

    def _checked(self, M: int) -> _core.PerRow:
        """Return the form of the core; `add` checks the lengths.

        Raises
        ------
        ValueError
            A value out of range, or an array that is no vector.
        TypeError
            Other values than integers.
        """
        levels, beams, links = self
        return _core.PerRow(
            None if levels is None else as_counts("levels", levels, 0, MAX_LEVEL).astype(np.uint8),
            None if beams is None else as_counts("ef_construction", beams, 1, MAX_EF).astype(np.uint32),
            None if links is None else as_counts("links", links, 1, 2 * M).astype(np.uint32),
        )
