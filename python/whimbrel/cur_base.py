"""The part of `CurIndex` that neither predicts nor changes: what it holds, and saving and loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._arrays import Float32, Float64, as_threads
from ._core import CurIndex as CoreIndex
from .hnsw_base import _path_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from .hnsw_base import PathOrFile

__all__ = ["CurBase"]


class CurBase:
    """Base of `CurIndex`; not for use on its own."""

    _core: CoreIndex

    @classmethod
    def _wrap(cls, core: CoreIndex) -> Self:
        index = cls.__new__(cls)
        index._core = core
        return index

    def __len__(self) -> int:
        return self._core.size()

    def __repr__(self) -> str:
        rank = f", rank={self.rank}" if self.rank is not None else ""
        return (
            f"<CurIndex of {len(self):,} items by {self.n_queries:,} anchor queries, "
            f"storage={self.storage!r}{rank}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).loads, (self.dumps(),)

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

    def save(self, file: PathOrFile) -> None:
        """Write the index to a path, or to an object with ``write(bytes)``; as `HnswIndex.save`.

        Raises
        ------
        OSError
            Of the fitting kind, with its `filename`.
        """
        if hasattr(file, "write"):
            self._core.save_file(file)
        else:
            self._core.save_path(_path_bytes(file))

    @classmethod
    def load(cls, file: PathOrFile) -> Self:
        """Read an index from a path, or from an object with ``read(n) -> bytes``.

        Raises
        ------
        FormatError
            If it is not a whole, undamaged index of a known version.
        OSError
            If it cannot be read.
        """
        if hasattr(file, "read"):
            return cls._wrap(CoreIndex.load_file(file))
        return cls._wrap(CoreIndex.load_path(_path_bytes(file)))

    def dumps(self) -> bytes:
        """Return what `save` would write. The same scores, parameters and calls give the same bytes."""
        return self._core.dumps()

    @classmethod
    def loads(cls, data: Buffer) -> Self:
        """Make an index from the bytes that `dumps` returned; raises `FormatError` like `load`."""
        return cls._wrap(CoreIndex.loads(data))
