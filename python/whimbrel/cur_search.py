"""cur_search: the best items of a query under an expensive scorer, within a budget of scorer calls."""

from __future__ import annotations

from typing import Any

from .cur import CurIndex
from .cur_rounds import CurSearch, CurSearchResult, ItemScore

__all__ = ["cur_search"]


def cur_search(
    cur: CurIndex, score: ItemScore, k: int = 10, budget: int = 200, rounds: int = 10, **options: Any
) -> CurSearchResult:
    """Find the `k` best items of a query under a scorer that is asked at most `budget` times.

    Parameters
    ----------
    cur : CurIndex
        Of the items.
    score : callable
        ``score(item_ids) -> scores`` of the query, larger is better; called once a round, with (s,) int64.
    k : int
        Results wanted.
    budget : int
        Items that may be scored, never exceeded. From the number of items on, all are scored.
    rounds : int
        The budget is spent in this many nearly equal parts [1]_. More rounds find more; each costs one pass
        over the features.
    start : (m,) array_like of int64, optional
        Items of the first round, best first: candidates of a first stage, or `CurIndex.select_anchors`.
        Filled up by the first stage's or random items.
    first_stage : (n,) array_like of float32, optional
        A cheap score of every item for this query. Much is gained by it, most if the index was fitted with it
        too.
    graph : HnswIndex, optional
        Of ``cur.item_vectors()``, with metric "ip": a round then costs a search of the graph and not a pass
        over all items. Without a first stage.
    split : float
        Share of the budget for the rounds, above 0 and at most 1; the rest is spent at once on the highest
        predictions. ``rounds=1, split=0.5`` is ANNCUR.
    rule : {"top_k", "softmax", "uncertainty"}
        What a round takes: the highest predictions; a sample with probabilities proportional to
        ``exp(prediction / temperature)``; the highest ``prediction + kappa * standard deviation``.
    temperature, kappa : float
        See `rule`.
    mu : float, optional
        As in `CurIndex.approximate`.
    seed : int
        Of the random choices.
    threads : int
        Worker threads; 0 uses all. Does not change the result.

    Returns
    -------
    CurSearchResult

    Raises
    ------
    ValueError
        A parameter out of range, another number of scores than items, or a score that is not finite.
    IndexError
        A start item that does not exist.

    References
    ----------
    .. [1] Yadav et al., "Adaptive selection of anchor items for CUR-based k-NN search with cross-encoders",
       Findings of EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.standard_normal((120, 8)) @ rng.standard_normal((8, 1000))
    >>> cur = wb.CurIndex.fit(scores[:100])
    >>> hits = wb.cur_search(cur, lambda ids: scores[100, ids], k=10, budget=50)
    >>> hits.calls, len(np.intersect1d(hits.ids, np.argsort(-scores[100])[:10]))
    (50, 10)
    """
    return CurSearch(cur, k, budget, rounds, **options).run(score)
