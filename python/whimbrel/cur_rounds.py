"""CurSearch: a search under a budget as a state machine, and what it returns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import Float32, Int64, as_array, as_choice, as_float32, as_int, as_int_vector, as_mu, as_threads
from .cur import CurIndex
from .exact import MAX_K
from .hnsw import HnswIndex
from .order import MAX_SEED

__all__ = ["CurSearch", "CurSearchResult", "ItemScore"]

ItemScore: TypeAlias = Callable[[Int64], ArrayLike]
GRAPH_MORE = 100  # candidates of a graph beyond what is scored at most
RULES = ("top_k", "softmax", "uncertainty")


@dataclass(frozen=True)
class CurSearchResult:
    """What a search found, and what it cost.

    Attributes
    ----------
    ids : (k,) int64
        Best items first, equal scores by id; fewer than `k` if the budget or the number of items is smaller.
    scores : (k,) float32
        Their exact scores, from the scorer.
    calls : int
        Items that were scored, at most the budget.
    estimated_recall : float
        Expected share of the true best `k` among these, by the model's own residuals: a hint, no bound.
    scorer_seconds, algebra_seconds : float
        Wall time in the scorer, and in everything else.
    """

    ids: Int64
    scores: Float32
    calls: int
    estimated_recall: float
    scorer_seconds: float
    algebra_seconds: float


class CurSearch:
    """A search as a state machine, for callers who own the loop; `cur_search` drives one for you.

    ``items = next_items()`` says what to score next (empty at the end), ``observe(scores)`` takes the
    scores, `result` gives the outcome at any time. Parameters are those of `cur_search`. After an error in
    the scorer the search holds everything that was observed before, and goes on with the same items. For one
    thread at a time.
    """

    def __init__(
        self,
        cur: CurIndex,
        k: int = 10,
        budget: int = 200,
        rounds: int = 10,
        *,
        start: ArrayLike | None = None,
        first_stage: ArrayLike | None = None,
        graph: HnswIndex | None = None,
        split: float = 1.0,
        rule: str = "top_k",
        temperature: float = 1.0,
        kappa: float = 1.0,
        mu: float | None = None,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        first = None
        if first_stage is not None:
            first = as_float32(as_array("first_stage", first_stage))
            if first.shape != (len(cur),):
                raise ValueError(f"first_stage: expected shape ({len(cur)},), got {first.shape}")
        if graph is not None:
            if first_stage is not None:
                raise ValueError("graph: expected no first_stage beside it, its scores are in no graph")
            if (graph.metric, graph.dim) != ("ip", cur.dim + 1):
                raise ValueError(
                    f"graph: expected metric 'ip' and dimension {cur.dim + 1}, as of item_vectors(), "
                    f"got {graph.metric!r} and {graph.dim}"
                )
        self._graph = graph
        self._candidates = np.empty(0, np.int64)
        self._graph_seconds = 0.0
        items = as_int_vector("start", () if start is None else start)
        self._budget = as_int("budget", budget, 1, MAX_K)
        self._core = _core.CurSearch(
            cur._core,
            as_int("k", k, 1, MAX_K),
            self._budget,
            as_int("rounds", rounds, 1, MAX_K),
            as_real("split", split),
            as_choice("rule", rule, RULES),
            as_real("temperature", temperature),
            as_real("kappa", kappa),
            as_mu(mu),
            as_int("seed", seed, 0, MAX_SEED),
            as_threads(threads),
            items,
            first,
        )
        self._scorer_seconds = 0.0

    def next_items(self) -> Int64:
        """Items to score next, (s,) int64: none twice, none removed, never more than the budget in all."""
        start = time.perf_counter()
        query = self._core.query_vector() if self._graph is not None else ()
        if self._graph is None or len(query) == 0:
            return self._core.next_items()
        # What is scored comes back too: predictions of it are among the highest.
        count = min(len(self._graph), 2 * self._budget + GRAPH_MORE)
        self._candidates = self._graph.search(query, count, ef_search=count).ids
        self._graph_seconds += time.perf_counter() - start
        return self._core.next_items_among(self._candidates)

    def observe(self, scores: ArrayLike, *, scorer_seconds: float = 0.0) -> None:
        """Take the scores of the items that `next_items` gave, and note what they cost.

        Raises
        ------
        ValueError
            Another number of scores, or one that is not finite; the search is as it was.
        """
        values = as_array("scores", scores)
        if values.ndim != 1:
            raise ValueError(f"scores: expected shape (n,), got {values.shape}")
        self._core.observe(as_float32(values))
        self._scorer_seconds += scorer_seconds

    def run(self, score: ItemScore) -> CurSearchResult:
        """Score by rounds to the end. If `score` raises, call it again to go on without repeating a call."""
        while len(items := self.next_items()) > 0:
            start = time.perf_counter()
            scores = score(items)
            self.observe(scores, scorer_seconds=time.perf_counter() - start)
        return self.result()

    @property
    def calls(self) -> int:
        """Scores observed so far."""
        return self._core.calls()

    @property
    def ledger(self) -> tuple[Int64, Float32]:
        """All items scored so far, in the order they were asked for, and their scores."""
        return self._core.ledger()

    @property
    def leave_one_out(self) -> float:
        """Root mean square error of predicting each scored item from the others, in units of the scores."""
        return self._core.loo_error()

    @property
    def mu(self) -> float:
        """Ridge parameter of the last round."""
        return self._core.mu()

    def result(self) -> CurSearchResult:
        """Return the best of what was scored so far."""
        ids, scores = self._core.top_k()
        recall = self._core.estimated_recall(self._candidates)
        spent = (self._scorer_seconds, self._core.algebra_seconds() + self._graph_seconds)
        return CurSearchResult(ids, scores, self.calls, recall, *spent)


def as_real(name: str, value: Any) -> float:
    """Return a finite number; its range is checked by the core."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return float(value)
