"""CurRetriever: search a collection with a cross-encoder, from its scorer to its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Float32, as_int, as_int_vector, as_scores
from ._progress import Progress
from .checkpoint import ScoreCheckpoint, complete_scores
from .cur import CurIndex
from .cur_rounds import CurSearch, CurSearchResult
from .scorers import MAX_BATCH, Request, as_scorer, check_scores

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CurRetriever"]

FirstStage: TypeAlias = Callable[[Any], ArrayLike]
Candidates: TypeAlias = Callable[[Any, int], ArrayLike]


class CurRetriever:
    """Finds the best items of a query under an expensive scorer, with few calls of it.

    Parameters
    ----------
    scorer : callable or Scorer
        A callable on pairs, ``predict([(query, item), ...]) -> scores``, like ``CrossEncoder.predict``; a
        coroutine function ``score(query, item_ids)``; or an object with `score_many`, like `ItemScorer`.
    items : sequence
        The collection: what the scorer gets as item number `i`, usually its text. For scorers of item numbers
        a ``range(n)`` will do.
    first_stage : callable, optional
        ``first_stage(query) -> (n,) scores`` of all items by something cheap, larger is better: BM25, a dense
        model. Much is gained by it.
    candidates : callable, optional
        ``candidates(query, count) -> item ids``, best first: what the first round scores; -1 is left out.
        For first stages that score only what they find, as `HnswIndex` and `MultiVectorIndex` do.
    batch_size : int
        Pairs per call of a callable on pairs; also how much of `fit` an interrupt can cost.

    Examples
    --------
    >>> import whimbrel as wb
    >>> def predict(pairs):
    ...     return [len(set(a) & set(b)) for a, b in pairs]
    >>> words = ["heron", "plover", "curlew", "whimbrel", "godwit", "knot"]
    >>> retriever = wb.CurRetriever(predict, words).fit(["rail", "crane", "grebe", "loon"])
    >>> hits = retriever.search("shelter", k=2, budget=4)
    >>> hits.calls
    4
    """

    def __init__(
        self,
        scorer: Any,
        items: Sequence[Any],
        *,
        first_stage: FirstStage | None = None,
        candidates: Candidates | None = None,
        batch_size: int = 1024,
    ) -> None:
        self._items = list(items)
        self._batch_size = as_int("batch_size", batch_size, 1, MAX_BATCH)
        self._scorer = as_scorer(scorer, self._items, self._batch_size)
        self._first_stage = first_stage
        self._candidates = candidates
        self._queries: list[Any] = []
        self._cur: CurIndex | None = None

    @property
    def cur(self) -> CurIndex:
        """The index behind it; raises `ValueError` before `fit`."""
        if self._cur is None:
            raise ValueError("retriever: expected fit to have been called, got no index")
        return self._cur

    def fit(
        self,
        anchor_queries: Sequence[Any],
        *,
        anchor_scores: ArrayLike | None = None,
        checkpoint: Any = None,
        progress: Progress = False,
        **options: Any,
    ) -> Self:
        """Score all items for some typical queries, and make the index.

        Parameters
        ----------
        anchor_queries : sequence
            Some hundred queries like those to come: each costs a scorer call per item.
        anchor_scores : (k_q, n) array_like of float32, optional
            Scores that are known already; where they are NaN the scorer is asked.
        checkpoint : path, optional
            File that keeps every score as soon as it is known. After an interrupt or an error, the same call
            goes on where it stopped; once it is complete, it costs no call.
        progress : bool or callable
            As in `knn`, in scorer calls.
        **options
            Of `CurIndex.fit`.

        Raises
        ------
        ValueError
            A score that is not finite, named by its pair, the wrong number of scores, or a checkpoint of
            other queries or items. Scores known by then are in the checkpoint.
        FormatError
            A checkpoint that is truncated or something else.
        """
        queries = list(anchor_queries)
        if len(queries) == 0 or len(self._items) == 0:
            got = f"got {len(queries)} and {len(self._items)}"
            raise ValueError(f"anchor_queries, items: expected at least one of each, {got}")
        found = ScoreCheckpoint(queries, self._items, checkpoint)
        if anchor_scores is not None:
            found.take(as_scores("anchor_scores", anchor_scores))
        complete_scores(found, queries, self._scorer, self._batch_size, progress)
        self._cur = CurIndex.fit(found.scores, first_stage=self._first_stage_of(queries), **options)
        self._queries = queries
        return self

    def search(
        self, query: Any, k: int = 10, budget: int = 200, rounds: int = 10, **options: Any
    ) -> CurSearchResult:
        """Find the `k` best items of a query with at most `budget` scorer calls; options of `cur_search`."""
        return self.search_many([query], k, budget, rounds, **options)[0]

    def search_many(
        self, queries: Sequence[Any], k: int = 10, budget: int = 200, rounds: int = 10, **options: Any
    ) -> list[CurSearchResult]:
        """Search for several queries side by side: a round of all of them fills the scorer's batches.

        `scorer_seconds` of each result is its share of the calls.
        """
        cur = self.cur
        queries = list(queries)
        firsts = self._first_stage_of(queries)
        searches = []
        for q, query in enumerate(queries):
            if self._candidates is not None:
                found = as_int_vector("candidates", self._candidates(query, budget))
                options["start"] = found[found >= 0]
            first = None if firsts is None else firsts[q]
            searches.append(CurSearch(cur, k, budget, rounds, first_stage=first, **options))
        while requests := [(q, items) for q, s in enumerate(searches) if len(items := s.next_items()) > 0]:
            start = time.perf_counter()
            answers = self._scorer.score_many([(queries[q], items) for q, items in requests])
            seconds = time.perf_counter() - start
            calls = sum(len(items) for _, items in requests)
            for (q, items), scores in zip(requests, answers, strict=True):
                check_scores(queries[q], items, scores)
                searches[q].observe(scores, scorer_seconds=seconds * len(items) / calls)
        return [search.result() for search in searches]

    def add_items(self, items: Sequence[Any]) -> None:
        """Append items; each costs a scorer call per anchor query. Their ids continue."""
        cur, old = self.cur, len(self._items)
        self._items.extend(items)
        try:
            ids = np.arange(old, len(self._items), dtype=np.int64)
            scores = self._score_rows([(query, ids) for query in self._queries])
            first = self._first_stage_of(self._queries)
            cur.add_items(scores, first_stage=None if first is None else first[:, old:])
        except BaseException:
            del self._items[old:]
            raise

    def remove(self, item_ids: ArrayLike) -> None:
        """Never propose these items again; ids of others stay."""
        self.cur.remove(as_int_vector("item_ids", item_ids))

    def add_queries(self, queries: Sequence[Any]) -> None:
        """Add anchor queries; each costs a scorer call per item."""
        ids = np.arange(len(self._items), dtype=np.int64)
        scores = self._score_rows([(query, ids) for query in queries])
        self.cur.add_queries(scores, first_stage=self._first_stage_of(queries))
        self._queries.extend(queries)

    def _score_rows(self, requests: list[Request]) -> Float32:
        rows = self._scorer.score_many(requests)
        for request, scores in zip(requests, rows, strict=True):
            check_scores(*request, scores)
        return np.array(rows, np.float32).reshape(len(requests), -1)

    def _first_stage_of(self, queries: Sequence[Any]) -> Float32 | None:
        if self._first_stage is None:
            return None
        rows = as_scores("first_stage", np.array([np.asarray(self._first_stage(q)) for q in queries]))
        if rows.shape != (len(queries), len(self._items)):
            expected = f"expected {len(self._items)} scores per query"
            raise ValueError(f"first_stage: {expected}, got shape {rows.shape[1:]}")
        return rows
