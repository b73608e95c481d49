"""The searches of MultiVectorIndex."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import Float32, Int64, as_array, as_int, as_threads
from ._ragged import RaggedLike, as_ragged, as_ragged_or_one
from .exact import MAX_K
from .hnsw_base import MAX_EF
from .multi_vector_base import MultiVectorBase
from .multi_vector_results import MultiVectorResult, TunedSearch
from .set_encoder import encode

__all__ = ["MultiVectorSearch"]


class MultiVectorSearch(MultiVectorBase):
    """An index that can be searched; see `MultiVectorIndex`."""

    def search(
        self,
        queries: RaggedLike,
        k: int = 10,
        candidates: int | None = None,
        *,
        ef_search: int | None = None,
        filter: ArrayLike | None = None,
        carve: float | None = None,
        threads: int = 0,
    ) -> MultiVectorResult:
        """Find the `k` documents of the largest MaxSim among candidates of the graph.

        Parameters
        ----------
        queries : (t, dim) array_like, or sets of them
            One query, or several in any form that `maxsim` takes.
        k : int
            Results per query, at least 1.
        candidates : int, optional
            Documents per query that are ranked exactly; never fewer than `k`. If None, the index's own.
        ef_search : int, optional
            Beam width in the graph; never below what it has to give. If None, the index's own.
        filter : array_like, optional
            Ids of the documents that may be returned (unknown ones are ignored), or a boolean for each
            document in the order of addition.
        carve : float, optional
            Rank with ``ball_carving(queries, carve)``: faster, and scores are at most those of the queries
            themselves. The candidates stay those of the queries.
        threads : int
            Worker threads; 0 uses all. Does not change the result.

        Returns
        -------
        MultiVectorResult
            `ids` and `scores`, (q, k); (k,) for a single query. If there are `k` documents that may be
            returned and have tokens, `k` are; a query without tokens has no results.

        Raises
        ------
        ValueError, TypeError
            Wrong shapes, offsets, values or numbers.
        """
        sets, single = as_ragged_or_one("queries", queries, self.dim)
        _core.check_ragged("queries", *sets, as_threads(threads))
        encodings = encode(self._encoder, sets, self.encoding_dim, documents=False)
        ranked: tuple[Float32, Int64] = sets
        if carve is not None:
            ranked = _core.ball_carving(*sets, float(carve), as_threads(threads))
        rows, scores = self._core.search(
            encodings,
            *ranked,
            as_int("k", k, 1, MAX_K),
            as_int("candidates", self._candidates if candidates is None else candidates, 1, MAX_K),
            as_int("ef_search", self._ef_search if ef_search is None else ef_search, 0, MAX_EF),
            self._allowed(filter),
            as_threads(threads),
        )
        ids = self._ids.names(rows)
        return MultiVectorResult(ids[0], scores[0]) if single else MultiVectorResult(ids, scores)

    def tune(
        self, queries: RaggedLike, recall: float = 0.95, k: int = 10, *, threads: int = 0
    ) -> TunedSearch:
        """Choose the fewest candidates, and the beam for them, that find the true best `k`, and keep them.

        Recall is measured against exact MaxSim with all documents, which is what this costs.

        Parameters
        ----------
        queries : sets of (t, dim) vectors
            Like those to come. More queries make a more reliable choice.
        recall : float
            Mean share of the true best `k` that must be found, above 0 and at most 1.
        k : int
            Results per query.
        threads : int
            Worker threads; 0 uses all. Does not change the choice.

        Returns
        -------
        TunedSearch
            What was chosen, and its recall on these queries. It is the index's own from now on.

        Raises
        ------
        ValueError
            No queries, an empty index, or a number out of range.
        """
        k, threads = as_int("k", k, 1, MAX_K), as_threads(threads)
        if not 0 < recall <= 1:
            raise ValueError(f"recall: expected a number above 0 and at most 1, got {recall}")
        sets = as_ragged("queries", queries, self.dim)
        _core.check_ragged("queries", *sets, threads)
        n, n_queries = len(self), len(sets.offsets) - 1
        if n == 0 or n_queries == 0:
            raise ValueError(f"queries: expected some, and documents, got {n_queries} and {n}")
        encodings = encode(self._encoder, sets, self.encoding_dim, documents=False)
        k = min(k, n)

        def found(candidates: int, ef_search: int) -> Int64:
            return self._core.search(encodings, *sets, k, candidates, ef_search, None, threads)[0]

        truth = found(self._core.size(), 0)
        wanted = max(int((truth >= 0).sum()), 1)

        def try_out(candidates: int) -> TunedSearch | None:
            for beam in (1, 2, 4):
                hits = found(candidates, beam * candidates)
                share = (
                    sum(len(np.intersect1d(a[a >= 0], b)) for a, b in zip(truth, hits, strict=True)) / wanted
                )
                if share >= recall:
                    return TunedSearch(candidates, beam * candidates, share)
            return None

        low, high = k - 1, k  # `low` is too few
        while (best := try_out(high)) is None and high < self._core.size():
            low, high = high, min(2 * high, self._core.size())
        best = best or TunedSearch(high, high, 1.0)
        while high - low > max(1, low // 8):
            middle = (low + high) // 2
            if (tried := try_out(middle)) is None:
                low = middle
            else:
                high, best = middle, tried
        self._candidates, self._ef_search = best.candidates, best.ef_search
        return best

    def _allowed(self, filter: ArrayLike | None) -> NDArray[np.uint8] | None:
        if filter is None:
            return None
        wanted = as_array("filter", list(filter) if isinstance(filter, (set, frozenset)) else filter, "biuU")
        n = self._core.size()
        if wanted.dtype.kind == "b":
            if wanted.shape != (n,):
                raise ValueError(f"filter: expected shape ({n},) of a boolean filter, got {wanted.shape}")
            return np.ascontiguousarray(wanted, np.uint8)
        allowed = np.zeros(n, np.uint8)
        allowed[self._ids.rows("filter", wanted.ravel(), n, missing=True)] = 1
        return allowed
