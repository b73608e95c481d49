"""The part of `HnswIndex` that neither adds nor searches: what it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Int64, as_array, as_int, as_int_vector
from ._core import active_isa
from ._vector_dtype import Vectors
from .hnsw_files import HnswFiles
from .hnsw_results import HnswStats, HnswValidation

__all__ = ["HnswBase"]

MAX_ID = 2**63 - 1
MAX_LEVEL = 63
MAX_EF = 1_000_000


class HnswBase(HnswFiles):
    """Base of `HnswIndex`; not for use on its own."""

    _order: str | None = None

    def __len__(self) -> int:
        return self._core.size()

    def __repr__(self) -> str:
        p = self._core.params()
        return (
            f"<HnswIndex of {len(self):,} vectors, dim={self.dim}, metric={p['metric']!r}, M={p['M']}, "
            f"ef_construction={p['ef_construction']}, ef_search={p['ef_search']}"
            + (">" if self._dtype == "float32" else f", dtype={self._dtype!r}>")
        )

    @property
    def _dtype(self) -> str:
        return self._core.params()["dtype"]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What vectors, and queries, consist of: float32, int8 or uint8."""
        return np.dtype(self._dtype)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._core.dim()

    @property
    def metric(self) -> str:
        """Meaning of the distances: "l2", "ip" or "cosine"."""
        return self._core.params()["metric"]

    @property
    def M(self) -> int:
        """Links of a node on the upper levels; twice as many on level 0."""
        return self._core.params()["M"]

    @property
    def ef_construction(self) -> int:
        """Beam width of the search for a new node's candidates."""
        return self._core.params()["ef_construction"]

    @property
    def seed(self) -> int:
        """What decides the level of each row."""
        return self._core.params()["seed"]

    @property
    def batch_growth(self) -> float:
        """How much the graph may grow per batch; 1 is strictly sequential insertion."""
        return self._core.params()["batch_growth"]

    @property
    def keep_pruned(self) -> bool:
        """Whether level-0 lists are filled with the nearest of the pruned candidates."""
        return self._core.params()["keep_pruned"]

    @property
    def codec(self) -> str:
        """What searches measure on their way, as asked for; `stats` tells what became of "auto"."""
        return self._core.params()["codec"]

    @property
    def rerank(self) -> str:
        """In which form the vectors are kept."""
        return self._core.params()["rerank"]

    @property
    def ef_search(self) -> int:
        """Beam width of a search that does not name one. Can be set; saved with the index."""
        return self._core.params()["ef_search"]

    @ef_search.setter
    def ef_search(self, value: int) -> None:
        self._core.set_ef_search(as_int("ef_search", value, 1, MAX_EF))

    @property
    def ids(self) -> Int64:
        """All ids, (n,) int64, in the order of the rows that were added."""
        return self._core.ids()

    @property
    def stats(self) -> HnswStats:
        """Size, levels, degrees, memory, instruction set, build time and order; counted now, in O(n)."""
        return HnswStats(
            **self._core.stats(),
            dim=self.dim,
            memory_bytes=self.memory_usage(),
            isa=active_isa(),
            order=self._order,
        )

    def validate(self) -> HnswValidation:
        """Count unreachable nodes, nodes without incoming edges, and dead edges. Takes O(n M)."""
        return HnswValidation(*self._core.validate())

    def memory_usage(self) -> int:
        """Bytes of vectors, codes, graph and ids in use; not those in a mapped file or the caller's array."""
        return self._core.memory_usage()

    def get_vectors(self, ids: ArrayLike) -> Vectors:
        """Return vectors as stored, (m, dim) of the index's dtype; (dim,) for a single id.

        With "cosine", they are normalized.

        Raises
        ------
        IndexError
            For an id that the index does not have.
        """
        numbers = as_array("ids", ids, "iu")
        vectors = self._core.get_vectors(as_int_vector("ids", np.atleast_1d(numbers)))
        return vectors[0] if numbers.ndim == 0 else vectors

    def neighbors(self, id: int, level: int = 0) -> Int64:
        """Return the ids that the node of `id` links to on one level; empty if the node does not reach it.

        Raises
        ------
        IndexError
            For an id that the index does not have.
        """
        number = as_int("id", id, -(2**63), MAX_ID)
        return self._core.neighbors(number, as_int("level", level, 0, MAX_LEVEL))
