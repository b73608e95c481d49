"""The part of `CurIndex` that neither predicts nor changes: what it holds."""

from __future__ import annotations

from ._arrays import Float32, Float64, as_threads
from ._core import CurIndex as CoreIndex
from ._saved_index import SavedIndex

__all__ = ["CurBase"]


class CurBase(SavedIndex[CoreIndex]):
    """Base of `CurIndex`; not for use on its own."""

    _core_type = CoreIndex

    def __len__(self) -> int:
        return self._core.size()

    def __repr__(self) -> str:
        rank = f", rank={self.rank}" if self.rank is not None else ""
        return (
            f"<CurIndex of {len(self):,} items by {self.n_queries:,} anchor queries, "
            f"storage={self.storage!r}{rank}>"
        )

    @property
    def n_queries(self) -> int:
        """Anchor queries."""
        return self._core.n_queries()

    @property
    def n_removed(self) -> int:
        """Items that are never proposed any more; they count in ``len``, and ids of others stay."""
        return self._core.n_removed()

    @property
    def dim(self) -> int:
        """Length of an item's features: the number of anchor queries, or the rank."""
        return self._core.dim()

    @property
    def storage(self) -> str:
        """Type of the stored features, "f32", "f16" or "int8"."""
        return self._core.params()["storage"]

    @property
    def center(self) -> bool:
        """Whether items' means are subtracted before the regression."""
        return self._core.params()["center"]

    @property
    def intercept(self) -> bool:
        """Whether a query may score all items higher or lower."""
        return self._core.params()["intercept"]

    @property
    def rank(self) -> int | None:
        """Singular directions that were kept, or None for all."""
        return self._core.params()["rank"] or None

    @property
    def has_first_stage(self) -> bool:
        """Whether it was fitted with the scores of a first stage, and so needs them for every query."""
        return self._core.has_first_stage()

    @property
    def item_means(self) -> Float32:
        """Mean score of each item over the anchor queries, (n,) float32; zeros without centering."""
        return self._core.item_means()

    def item_vectors(self) -> Float32:
        """Return what to build a graph of for searches that make no passes (`cur_search`, `graph`).

        Returns
        -------
        (n, dim + 1) float32
            Features, and mean above the average, of each item, removed ones too; for metric "ip".
        """
        return self._core.item_vectors()

    def singular_values(self, *, threads: int = 0) -> Float64:
        """Singular values of the features, (dim,) float64, descending; estimated on at most 65,536 items."""
        return self._core.singular_values(as_threads(threads))

    def memory_usage(self) -> int:
        """Bytes of features, means and marks."""
        return self._core.memory_usage()
