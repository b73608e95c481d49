"""Saving and loading, for every index that is one file without metadata of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from typing import BinaryIO

    from typing_extensions import Buffer, Self

    PathOrFile: TypeAlias = str | bytes | os.PathLike[Any] | BinaryIO

__all__ = ["SavedIndex", "path_bytes"]


class _Saves(Protocol):
    """What the compiled class of such an index has; its static methods are those of `_core_type`."""

    def save_path(self, path: bytes, /) -> None: ...
    def save_file(self, file: Any, /) -> None: ...
    def dumps(self) -> bytes: ...


Core = TypeVar("Core", bound=_Saves)


class SavedIndex(Generic[Core]):
    """Base of the indexes; not for use on its own."""

    _core: Core
    _core_type: ClassVar[Any]

    @classmethod
    def _wrap(cls, core: Core) -> Self:
        index = cls.__new__(cls)
        index._core = core
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).loads, (self.dumps(),)

    def save(self, file: PathOrFile) -> None:
        """Write the index to a path, or to an object with ``write(bytes)``.

        A path is written as a temporary file beside it, synced and renamed: an old file stays whole until the
        new one is.

        Raises
        ------
        OSError
            Of the fitting kind (`FileNotFoundError`, `PermissionError`, ...), with its `filename`.
        """
        if hasattr(file, "write"):
            self._core.save_file(file)
        else:
            self._core.save_path(path_bytes(file))

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
            return cls._wrap(cls._core_type.load_file(file))
        return cls._wrap(cls._core_type.load_path(path_bytes(file)))

    def dumps(self) -> bytes:
        """Return what `save` would write. The same input, parameters and calls give the same bytes."""
        return self._core.dumps()

    @classmethod
    def loads(cls, data: Buffer) -> Self:
        """Make an index from the bytes that `dumps` returned; raises `FormatError` like `load`."""
        return cls._wrap(cls._core_type.loads(data))


def path_bytes(path: Any) -> bytes:
    """Return a path as the operating system has it."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"file: expected a path without NUL, got {path!r}")
    return name
