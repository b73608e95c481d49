"""The part of `HnswIndex` that knows files: its own, mapped or without the vectors, and those of hnswlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from ._arrays import MAX_DIM, METRICS, as_choice, as_int
from ._core import HnswIndex as CoreIndex
from ._rows_in_place import as_rows_in_place
from ._saved_index import SavedIndex, path_bytes

if TYPE_CHECKING:
    import os
    from typing import Any

    from typing_extensions import Self

    from ._saved_index import PathOrFile

__all__ = ["HnswFiles"]


class HnswFiles(SavedIndex[CoreIndex]):
    """Base of `HnswIndex`; not for use on its own."""

    _core_type = CoreIndex

    def save(self, file: PathOrFile, *, vectors: bool = True) -> None:
        """Write the index to a path, or to an object with ``write(bytes)``.

        A path is written as a temporary file beside it, synced and renamed: an old file stays whole until the
        new one is.

        Parameters
        ----------
        file : path-like or file object
        vectors : bool
            False leaves the vectors out; `load` gets them then. Needs a path, vectors that are kept in
            float32, and no removed points (`compact` first).

        Raises
        ------
        OSError
            Of the fitting kind (`FileNotFoundError`, `PermissionError`, ...), with its `filename`.
        ValueError
            An index that cannot be saved without its vectors.
        FormatError
            If vectors that stay in a mapped file were damaged meanwhile.
        """
        if vectors:
            return super().save(file)
        if hasattr(file, "write"):
            raise ValueError("file: expected a path with vectors=False, got a file object")
        return self._core.save_path(path_bytes(file), False)

    @classmethod
    def load(
        cls, file: PathOrFile, *, mmap: bool = False, verify: bool = False, vectors: ArrayLike | None = None
    ) -> Self:
        """Read an index from a path, or from an object with ``read(n) -> bytes``.

        Parameters
        ----------
        file : path-like or file object
        mmap : bool
            Leave vectors and codes in the file and read only the rest, which is verified as ever. Needs a
            path. The index takes no changes. `save` to the same path replaces the file, and the index goes on
            with the old one; nobody may shorten the file in place, and who changes it in place gets other
            results but never a crash. Windows lets nobody replace a mapped file.
        verify : bool
            With `mmap` or `vectors`: read vectors and codes once all the same, to verify them.
        vectors : (n, d) ndarray of float32, optional
            For a file saved with ``vectors=False``: the vectors of then, in the order of `ids` (with "cosine"
            what `get_vectors` returned). They stay where they are, as with ``build(copy=False)``. A few of
            them are compared with what was saved, with `verify` all.

        Raises
        ------
        FormatError
            If it is not a whole, undamaged index of a known version.
        ValueError
            If `vectors` are not those of the index, or a file object comes with `mmap` or `vectors`.
        OSError
            If it cannot be read.
        """
        if not mmap and vectors is None:
            return super().load(file)
        if hasattr(file, "read"):
            raise ValueError("file: expected a path with mmap or vectors, got a file object")
        rows = None if vectors is None else as_rows_in_place("vectors", vectors)
        return cls._wrap(CoreIndex.load_path(path_bytes(file), bool(mmap), bool(verify), rows))

    @classmethod
    def from_hnswlib(cls, path: str | bytes | os.PathLike[Any], dim: int, metric: str = "l2") -> Self:
        """Read an index that hnswlib's ``save_index`` wrote (version 0.8, float32).

        Levels, links, labels (as ids) and deleted marks are taken over, so that searches find what hnswlib
        finds; `compact` takes the room of deleted elements back. A link of an element to itself, or twice to
        the same, is left out. Distances of "ip" are those of hnswlib less 1.

        Parameters
        ----------
        path : path-like
        dim : int
            The file does not say; it must be what the index was made with.
        metric : {"l2", "ip", "cosine"}
            The space of the index, which the file does not say either. With "cosine" its vectors are
            normalized, and stay as they are.

        Raises
        ------
        FormatError
            If it is not a whole file of that dimension: sizes, labels, levels, links, values.
        ValueError
            A dimension out of range, or another metric.
        OSError
            If it cannot be read.
        """
        dim, metric = as_int("dim", dim, 1, MAX_DIM), as_choice("metric", metric, METRICS)
        return cls._wrap(CoreIndex.from_hnswlib(path_bytes(path), dim, metric))

    def to_hnswlib(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write a file for hnswlib's ``load_index`` (version 0.8), in a space of the same name and dimension.

        The graph and the vectors are the same, so recall is too. Ids become labels; removed points that are
        still there become deleted elements with labels behind the last. What has no place in such a file is
        left out: codes, results of `tune`, `ef_search` (call hnswlib's ``set_ef``) and `seed`; vectors kept
        in float16 are widened.

        Raises
        ------
        ValueError
            An index of bytes.
        OSError
            If it cannot be written.
        """
        self._core.to_hnswlib(path_bytes(path))
