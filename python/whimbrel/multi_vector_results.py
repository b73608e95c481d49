"""What a `MultiVectorIndex` returns."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from ._arrays import Float32

__all__ = ["MultiVectorResult", "TunedSearch"]


class MultiVectorResult(NamedTuple):
    """Documents of each query, best first; without the first axis for a single query.

    Attributes
    ----------
    ids : (q, k) int64, or object if ids are strings
        The caller's ids; -1, or None, where there are fewer than `k`.
    scores : (q, k) float32
        MaxSim with the stored tokens, larger is better; -inf beside a missing id. Equal scores are in the
        order of addition.
    """

    ids: NDArray[Any]
    scores: Float32


class TunedSearch(NamedTuple):
    """What `MultiVectorIndex.tune` chose.

    Attributes
    ----------
    candidates : int
        Documents to rank exactly.
    ef_search : int
        Beam width in the graph.
    recall : float
        Share of the true best `k` that they found, on the queries of the tuning.
    """

    candidates: int
    ef_search: int
    recall: float
