"""CurIndex: scores of all items under an expensive scorer, completed from the scores of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import Float32, Int64, as_array, as_choice, as_int, as_int_vector, as_mu, as_scores, as_threads
from ._progress import Progress, reporter
from .cur_items import CurItems
from .exact import MAX_K

if TYPE_CHECKING:
    from typing_extensions import Self

    from .device_items import DeviceItems

__all__ = ["CurHits", "CurIndex"]

STORAGES = ("f32", "f16", "int8")


class CurHits(NamedTuple):
    """Items of each query by predicted score, best first; without the first axis for a single query.

    Attributes
    ----------
    ids : (q, k) int64
        -1 where there are fewer than `k`.
    scores : (q, k) float32
        Predicted, larger is better; -inf beside -1. Equal scores are ordered by id.
    """

    ids: Int64
    scores: Float32


class CurIndex(CurItems):
    """Predicts the scores of all items for a query from its scores of a few [1]_; made by `fit`.

    Notes
    -----
    Ridge regression on the columns of the score matrix: ``f(q, i) = mean_i + y . v_i``, where ``v_i`` holds
    what the anchor queries gave to item `i` above its mean, and ``y`` is fitted to the items that were
    scored. With ``center=False, mu=0`` it is the pseudo-inverse of the paper. Predictions have the same bits
    for any number of threads and any CPU instruction set. Any number of calls may run at once; changes wait
    for them.

    References
    ----------
    .. [1] Yadav et al., "Efficient nearest neighbor search for cross-encoder models using matrix
       factorization", EMNLP 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.standard_normal((120, 8)) @ rng.standard_normal((8, 1000))  # 120 queries, 1,000 items
    >>> cur = wb.CurIndex.fit(scores[:100])
    >>> anchors = cur.select_anchors(16)
    >>> found = cur.retrieve(anchors, scores[100, anchors], k=10)
    >>> len(np.intersect1d(found.ids, np.argsort(-scores[100])[:10]))
    10
    """

    @classmethod
    def fit(
        cls,
        anchor_scores: ArrayLike,
        *,
        first_stage: ArrayLike | None = None,
        storage: str = "f32",
        center: bool = True,
        intercept: bool = False,
        rank: int | None = None,
        threads: int = 0,
        progress: Progress = False,
    ) -> Self:
        """Make an index from the scores of anchor queries.

        Parameters
        ----------
        anchor_scores : (k_q, n) array_like of float32
            Scores of `n` items for `k_q` queries like those to come, larger is better. Logits rather than
            probabilities: low rank lives there.
        first_stage : (k_q, n) array_like of float32, optional
            Scores of a cheap first stage (BM25, a dense model) on the same pairs. What it predicts, by itself
            and by the anchor queries that it finds alike, is known in advance, and the index completes the
            rest; every later call then needs the first stage's scores too.
        storage : {"f32", "f16", "int8"}
            "f16" halves memory and time of a pass, "int8" (255 steps for each item) quarters them. Centered
            scores must be within +-65504 for "f16".
        center : bool
            Subtract each item's mean score. Without it, a constant added to all scores changes the ranking.
        intercept : bool
            A constant feature: lets a query score all items higher or lower than others do.
        rank : int, optional
            Keep this many singular directions: less memory, less time, less noise. None keeps all.
        threads : int
            Worker threads; 0 uses all. Does not change the result.
        progress : bool or callable
            As in `knn`, in items.

        Raises
        ------
        ValueError
            Wrong or empty shapes, non-finite values, or values that "f16" cannot hold.
        """
        scores = as_scores("anchor_scores", anchor_scores)
        first = None if first_stage is None else as_scores("first_stage", first_stage)
        kept = 0 if rank is None else as_int("rank", rank, 1, max(1, scores.shape[0]))
        as_choice("storage", storage, STORAGES)
        with reporter(progress, "items") as callback:
            options = (storage, bool(center), bool(intercept), kept, as_threads(threads), callback)
            return cls._wrap(_core.CurIndex.fit(scores, first, *options))

    def approximate(
        self,
        item_ids: ArrayLike,
        scores: ArrayLike,
        *,
        first_stage: ArrayLike | None = None,
        mu: float | None = None,
        threads: int = 0,
    ) -> Float32:
        """Predict the scores of all items.

        Parameters
        ----------
        item_ids : (m,) array_like of int64
            Items that were scored, distinct; may be empty, then the means are returned.
        scores : (q, m) or (m,) array_like of float32
            Their exact scores for each query.
        first_stage : (q, n) or (n,) array_like of float32, optional
            First-stage scores of all items; needed if the index was fitted with them, possible if not.
        mu : float, optional
            Ridge parameter, in squared units of the scores; 0 is the pseudo-inverse, which fails where as
            many items were scored as there are anchor queries. None chooses it by leave-one-out on the scored
            items.
        threads : int
            Worker threads; 0 uses all. Does not change the result.

        Returns
        -------
        (q, n) or (n,) float32
            Removed items have a value too.

        Raises
        ------
        ValueError
            Wrong shapes, non-finite values, an item twice.
        IndexError
            An item that does not exist.
        """
        ids, known, first, single = self._query(item_ids, scores, first_stage)
        out = self._core.approximate(ids, known, first, as_mu(mu), as_threads(threads))
        return out[0] if single else out

    def retrieve(
        self,
        item_ids: ArrayLike,
        scores: ArrayLike,
        k: int = 10,
        *,
        first_stage: ArrayLike | None = None,
        exclude_scored: bool = False,
        mu: float | None = None,
        threads: int = 0,
        items: DeviceItems | None = None,
    ) -> CurHits:
        """Find the `k` items of the highest predicted scores, without storing the scores of all.

        Parameters are those of `approximate`; `exclude_scored` leaves out `item_ids`. Removed items are never
        returned. Many queries at once, without a first stage, are several times faster than one after
        another; with `items`, a `whimbrel.cuda.DeviceItems`, a CUDA device finds them, up to `k` = 500 or so,
        which does not change the result.
        """
        ids, known, first, single = self._query(item_ids, scores, first_stage)
        k = as_int("k", k, 1, MAX_K)
        find, norm = (None, 0.0) if items is None else (items.find, items.largest_norm(self))
        options = (bool(exclude_scored), as_mu(mu), as_threads(threads), find, norm)
        hits = self._core.retrieve(ids, known, first, k, *options)
        return CurHits(*(a[0] for a in hits)) if single else CurHits(*hits)

    def _query(
        self, item_ids: ArrayLike, scores: ArrayLike, first_stage: ArrayLike | None
    ) -> tuple[Int64, Float32, Float32 | None, bool]:
        ids = as_int_vector("item_ids", item_ids)
        single = np.ndim(as_array("scores", scores)) == 1
        known = as_scores("scores", np.atleast_2d(as_array("scores", scores)))
        first = None
        if first_stage is not None:
            first = as_scores("first_stage", np.atleast_2d(as_array("first_stage", first_stage)))
        return ids, known, first, single
