"""Scorers of pairs (query, item), of whatever kind, behind one method that takes many requests at once."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Float32, Int64, as_array, as_float32, as_int

__all__ = ["AsyncItemScorer", "ItemScorer", "PairScorer", "Request", "Scorer", "as_scorer"]

Request: TypeAlias = tuple[Any, Int64]  # a query, and the items to score for it
MAX_BATCH = 2**31 - 1


class Scorer(Protocol):
    """What a search asks for scores."""

    def score_many(self, requests: Sequence[Request]) -> list[Float32]:
        """Return the scores of each request's items, in its order."""


class PairScorer:
    """A callable on pairs of texts: ``CrossEncoder.predict``, ``FlagReranker.compute_score`` and the like.

    Parameters
    ----------
    predict : callable
        ``predict([(query, item), ...]) -> scores``, larger is better.
    items : sequence
        What item number `i` is to the scorer, usually its text. Kept, not copied.
    batch_size : int
        Pairs per call of `predict`; the pairs of several queries fill it together.
    """

    def __init__(
        self,
        predict: Callable[[list[tuple[Any, Any]]], ArrayLike],
        items: Sequence[Any],
        batch_size: int = 1024,
    ) -> None:
        self._predict = predict
        self._items = items
        self._batch_size = as_int("batch_size", batch_size, 1, MAX_BATCH)

    def score_many(self, requests: Sequence[Request]) -> list[Float32]:
        """Score all pairs of all requests, in batches."""
        owners = [(query, int(item)) for query, items in requests for item in items]
        scores = np.empty(len(owners), np.float32)
        for begin in range(0, len(owners), self._batch_size):
            batch = owners[begin : begin + self._batch_size]
            found = self._predict([(query, self._items[item]) for query, item in batch])
            scores[begin : begin + len(batch)] = as_item_scores(found, len(batch))
        ends = np.cumsum([len(items) for _, items in requests])
        return np.split(scores, ends[:-1]) if len(requests) > 0 else []


class ItemScorer:
    """A callable on item numbers, ``score(query, item_ids) -> scores``, called once per request."""

    def __init__(self, score: Callable[[Any, Int64], ArrayLike]) -> None:
        self._score = score

    def score_many(self, requests: Sequence[Request]) -> list[Float32]:
        """Score one request after another."""
        return [as_item_scores(self._score(query, items), len(items)) for query, items in requests]


class AsyncItemScorer:
    """A coroutine function on item numbers, ``await score(query, item_ids)``: all requests run at once.

    Not for use inside a running event loop; there, drive a `CurSearch` and await the scores yourself.
    """

    def __init__(self, score: Callable[[Any, Int64], Awaitable[ArrayLike]]) -> None:
        self._score = score

    def score_many(self, requests: Sequence[Request]) -> list[Float32]:
        """Await all requests together; if one fails, its error is raised after the others ended."""

        async def gather() -> list[Any]:
            calls = (self._score(query, items) for query, items in requests)
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = asyncio.run(gather())
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [as_item_scores(a, len(items)) for a, (_, items) in zip(answers, requests, strict=True)]


def as_scorer(scorer: Any, items: Sequence[Any], batch_size: int = 1024) -> Scorer:
    """Any scorer as one with `score_many`.

    Such an object itself, a coroutine function on (query, item_ids), or a callable on pairs.
    """
    if hasattr(scorer, "score_many"):
        return scorer  # type: ignore[no-any-return]
    if not callable(scorer):
        raise TypeError(
            f"scorer: expected a callable or an object with score_many, got {type(scorer).__name__}"
        )
    if inspect.iscoroutinefunction(scorer):
        return AsyncItemScorer(scorer)
    return PairScorer(scorer, items, batch_size)


def as_item_scores(scores: Any, count: int) -> Float32:
    """Return what a scorer gave as (count,) float32; values may still be anything."""
    if hasattr(scores, "detach"):  # a torch tensor, wherever it lives
        scores = scores.detach().float().cpu().numpy()  # numpy has no bfloat16
    elif isinstance(scores, Iterator):  # scorers that yield
        scores = list(scores)
    array = as_array("scores", scores)
    if array.shape == (count, 1) or (count == 1 and array.ndim == 0):  # some give a number for one pair
        array = array.reshape(count)
    if array.shape != (count,):
        raise ValueError(f"scores: expected {count} of the scorer, got shape {array.shape}")
    return as_float32(array)


def check_scores(query: Any, items: Int64, scores: Float32) -> None:
    """Raise ValueError that names the first pair without a finite score."""
    finite = np.isfinite(scores)
    if not finite.all():
        i = int(np.argmin(finite))
        value = "nan" if math.isnan(scores[i]) else f"{scores[i]}"
        raise ValueError(
            f"scores: expected finite values, got {value} for query {shorten(query)} and item {items[i]}"
        )


def shorten(query: Any, limit: int = 80) -> str:
    """Return a query for a message."""
    text = repr(query)
    return text if len(text) <= limit else text[: limit - 3] + "..."
