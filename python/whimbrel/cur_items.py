"""The part of `CurIndex` that changes its items and anchor queries, and chooses what to score first."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ._arrays import Int64, as_choice, as_int, as_int_vector, as_scores, as_threads
from ._device_exact import parse_device
from ._progress import Progress, reporter
from .cur_base import CurBase
from .order import MAX_SEED

__all__ = ["ANCHOR_RULES", "CurItems"]

ANCHOR_RULES = ("random", "top", "kmeans", "leverage", "l2_greedy")
MAX_ITEMS = 2**31 - 1


def greedy_passes(rule: str, device: str | None) -> object:
    """Return what goes over the items on a device; None for the CPU."""
    if device not in (None, "cpu") and rule != "l2_greedy":
        raise ValueError(f"device: expected None with rule={rule!r}, got {device!r}")
    number = parse_device(device)
    if number is None:
        return None
    from . import _cuda

    return _cuda.greedy_passes(number)


class CurItems(CurBase):
    """An index whose items can change; see `CurIndex`."""

    def select_anchors(
        self,
        count: int,
        rule: str = "l2_greedy",
        *,
        seed: int = 0,
        threads: int = 0,
        progress: Progress = False,
        device: str | None = None,
    ) -> Int64:
        """Choose the items to score first, whatever the query.

        Parameters
        ----------
        count : int
            Items wanted; all that are not removed if there are fewer.
        rule : {"l2_greedy", "random", "top", "kmeans", "leverage"}
            "l2_greedy" lowers the mean squared error of predicting all items' scores from the chosen ones
            most at each step [1]_, in one pass over the features; "random"; "top": the highest mean scores;
            "kmeans": the items nearest to the centers of clusters of the features; "leverage": a sample by
            leverage in the leading singular directions [2]_.
        seed : int
            Of whatever is random in the rule.
        threads : int
            Worker threads; 0 uses all. Does not change the result.
        progress : bool or callable
            As in `knn`, in anchors. A callback must not change the index.
        device : str, optional
            "cuda" or "cuda:<number>": of "l2_greedy", where the passes run. Does not change the result.

        Returns
        -------
        (count,) int64
            Distinct, in the order of choice.

        Raises
        ------
        ValueError
            An unknown rule or device, or a CUDA device for another rule.
        CudaError
            If there is no device.

        References
        ----------
        .. [1] Shevkunov, Ploskonosov and Prokhorenkova, "Relevance-based embeddings", 2026.
        .. [2] Mahoney and Drineas, "CUR matrix decompositions for improved data analysis", PNAS 2009.
        """
        count = as_int("count", count, 1, MAX_ITEMS)
        as_choice("rule", rule, ANCHOR_RULES)
        seed = as_int("seed", seed, 0, MAX_SEED)
        passes = greedy_passes(rule, device)
        with reporter(progress, "anchors") as callback:
            return self._core.select_anchors(count, rule, seed, as_threads(threads), callback, passes)

    def add_items(self, scores: ArrayLike, *, first_stage: ArrayLike | None = None) -> None:
        """Append items; their ids continue.

        Parameters
        ----------
        scores : (k_q, m) array_like of float32
            Scores of the new items for all anchor queries: `k_q` scorer calls for each.
        first_stage : (k_q, m) array_like of float32, optional
            As in `fit`.

        Raises
        ------
        ValueError
            Wrong shapes or non-finite values; nothing was added.
        """
        first = None if first_stage is None else as_scores("first_stage", first_stage)
        self._core.add_items(as_scores("scores", scores), first)

    def add_queries(self, scores: ArrayLike, *, first_stage: ArrayLike | None = None) -> None:
        """Add anchor queries: (m, n) scores of all items, removed ones too. Not for an index with a rank."""
        first = None if first_stage is None else as_scores("first_stage", first_stage)
        self._core.add_queries(as_scores("scores", scores), first)

    def remove(self, item_ids: ArrayLike) -> None:
        """Never propose these items again. Ids of others stay; removing an item twice is no error.

        Raises
        ------
        IndexError
            For an item that does not exist; then none is removed.
        """
        self._core.remove(as_int_vector("item_ids", item_ids))
