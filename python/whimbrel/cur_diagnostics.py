"""Will it work for this scorer? Measured on held-out anchor queries before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Float32, Float64, Int64, as_int, as_scores
from .cur import CurIndex
from .cur_rounds import CurSearch
from .cur_search import cur_search
from .exact import MAX_K
from .order import MAX_SEED

__all__ = ["CurDiagnostics", "cur_diagnostics"]

HELD_OUT = 0.2
MAX_HELD_OUT = 50
# Share of the scores' variance that predictions explain: above, searches find nearly all; below, little.
GOOD_FIT, POOR_FIT = 0.7, 0.3


@dataclass(frozen=True)
class CurDiagnostics:
    """What `cur_diagnostics` measured on queries that the index did not know.

    Attributes
    ----------
    singular_values : (d,) float64
        Of the centered scores, descending.
    effective_rank : int
        Singular directions that hold 90 % of the squared scores.
    explained : float
        Share of the held-out scores' variance, about the items' means, that predictions from 100 random items
        explain; 1 is perfect, 0 is no better than the means.
    leave_one_out : float
        Root mean square error of predicting each of those items from the others, in units of the scores.
    recall : dict of int to float
        For each budget, the share of the true best `k` that a search found.
    random_recall : dict of int to float
        The same if the budget is spent on random items: budget / n.
    advice : str
        One sentence.
    """

    singular_values: Float64
    effective_rank: int
    explained: float
    leave_one_out: float
    recall: dict[int, float]
    random_recall: dict[int, float]
    advice: str


def cur_diagnostics(
    anchor_scores: ArrayLike,
    *,
    first_stage: ArrayLike | None = None,
    k: int = 10,
    budgets: Sequence[int] = (50, 100, 200, 500),
    seed: int = 0,
) -> CurDiagnostics:
    """Fit an index on four fifths of the anchor queries and search for the others.

    Parameters
    ----------
    anchor_scores, first_stage : (k_q, n) array_like of float32
        As in `CurIndex.fit`; at least 5 queries. At most 50 of them are held out.
    k : int
        Results of a search.
    budgets : sequence of int
        Budgets of the searches.
    seed : int
        Chooses the queries that are held out, and random items.

    Raises
    ------
    ValueError
        Fewer than 5 queries, and whatever `CurIndex.fit` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> rng = np.random.default_rng(0)
    >>> report = wb.cur_diagnostics(rng.standard_normal((100, 8)) @ rng.standard_normal((8, 1000)))
    >>> report.effective_rank <= 8, report.recall[50]
    (True, 1.0)
    >>> print(report.advice)
    the scorer is low-rank enough: a budget of 50 finds 100% of the best 10
    """
    scores = as_scores("anchor_scores", anchor_scores)
    if len(scores) < 5:
        raise ValueError(f"anchor_scores: expected at least 5 queries, got {len(scores)}")
    first = None if first_stage is None else as_scores("first_stage", first_stage)
    if first is not None and first.shape != scores.shape:
        raise ValueError(f"first_stage: expected shape {scores.shape}, got {first.shape}")
    k = as_int("k", k, 1, MAX_K)
    order = np.random.default_rng(as_int("seed", seed, 0, MAX_SEED)).permutation(len(scores))
    n_held = max(1, min(MAX_HELD_OUT, int(HELD_OUT * len(scores))))
    held, known = order[:n_held], order[n_held:]
    cur = CurIndex.fit(scores[known], first_stage=None if first is None else first[known])
    values = cur.singular_values()
    squares = np.cumsum(values**2)
    effective = int(np.searchsorted(squares, 0.9 * squares[-1])) + 1

    recall = {}
    for budget in budgets:
        found = [_recall(cur, scores[q], None if first is None else first[q], k, budget, seed) for q in held]
        recall[int(budget)] = float(np.mean(found))
    items = cur.select_anchors(min(100, max(1, len(cur) // 2)), "random", seed=seed)
    first_held = None if first is None else first[held]
    explained = _explained(cur, scores[held], first_held, items)
    left = [_leave_one_out(cur, scores[q], None if first is None else first[q], items) for q in held]
    return CurDiagnostics(
        values,
        effective,
        explained,
        float(np.sqrt(np.mean(np.square(left)))),
        recall,
        {budget: min(1.0, budget / scores.shape[1]) for budget in recall},
        _advice(explained, recall, k),
    )


def _recall(cur: CurIndex, scores: Float32, first: Float32 | None, k: int, budget: int, seed: int) -> float:
    hits = cur_search(cur, lambda items: scores[items], k, budget, first_stage=first, seed=seed)
    # By the k-th score and not by ids: among equal scores any item is right.
    kth = np.sort(scores)[-min(k, len(scores))]
    return float(np.mean(np.pad(hits.scores >= kth, (0, max(0, min(k, len(scores)) - len(hits.ids))))))


def _leave_one_out(cur: CurIndex, scores: Float32, first: Float32 | None, items: Int64) -> float:
    search = CurSearch(cur, 1, len(items), 1, start=items, first_stage=first)
    search.observe(scores[search.next_items()])
    return search.leave_one_out


def _explained(cur: CurIndex, scores: Float32, first: Float32 | None, items: Int64) -> float:
    predicted = cur.approximate(items, scores[:, items], first_stage=first)
    others = np.setdiff1d(np.arange(len(cur)), items)
    left = np.mean((scores - predicted)[:, others].astype(np.float64) ** 2)
    total = np.mean((scores - cur.item_means)[:, others].astype(np.float64) ** 2)
    return float(1 - left / total) if total > 0 else 1.0


def _advice(explained: float, recall: dict[int, float], k: int) -> str:
    budget = max(recall, key=lambda b: (recall[b], -b), default=0)
    found = f"a budget of {budget:,} finds {recall.get(budget, 0):.0%} of the best {k}"
    if explained >= GOOD_FIT:
        return f"the scorer is low-rank enough: {found}"
    if explained >= POOR_FIT:
        return f"the scorer is low-rank in part: {found}; more anchor queries or a first stage should help"
    return f"the scorer is not low-rank enough: {found}; give a first stage, or re-rank its candidates"
