"""The caller's ids of documents that the core numbers 0, 1, ...: none, integers, or strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import Int64

__all__ = ["DocumentIds"]

MAX_ID = 2**63 - 1


class DocumentIds:
    """A list of ids with a way back. While nobody names documents, ids are their numbers."""

    def __init__(self, ids: list[int] | list[str] | None = None, gone: Iterable[int] = ()) -> None:
        self.ids: list[Any] | None = ids
        self.gone = set(gone)
        self._rows = {id: row for row, id in enumerate(ids or []) if row not in self.gone}
        self._table: NDArray[Any] | None = None

    def prepare(self, ids: Any, n: int, size: int) -> list[Any] | None:
        """Check ids for `n` new documents of an index of `size`; give what `append` wants."""
        if ids is None:
            if self.ids is not None:
                raise ValueError(f"ids: expected {n} ids for an index that has its own, got None")
            return None
        if size > 0 and self.ids is None:
            raise ValueError("ids: expected None for an index that numbers its documents, got ids")
        values = list(ids.tolist() if isinstance(ids, np.ndarray) else ids)
        if len(values) != n:
            raise ValueError(f"ids: expected {n}, one per document, got {len(values)}")
        kind = (
            str if self.kind is str or (self.ids is None and values and isinstance(values[0], str)) else int
        )
        clean = [_checked(value, kind) for value in values]
        seen: set[Any] = set()
        for value in clean:
            if value in self._rows or value in seen:
                raise ValueError(f"ids: expected new ids, got {value!r} twice")
            seen.add(value)
        return clean

    def append(self, clean: list[Any] | None, size: int) -> None:
        """Take in what `prepare` gave, for an index that had `size` documents."""
        if clean is None:
            return
        self.ids = [] if self.ids is None else self.ids
        self.ids.extend(clean)
        self._table = None
        self._rows.update(zip(clean, range(size, size + len(clean)), strict=True))

    @property
    def kind(self) -> type | None:
        """Of the ids: int, str, or None while there are none."""
        return type(self.ids[0]) if self.ids else None

    def rows(self, name: str, ids: Any, size: int, *, missing: bool = False) -> Int64:
        """Numbers of documents; with `missing`, unknown ids are left out, otherwise a KeyError."""
        values = ids.tolist() if isinstance(ids, (np.ndarray, np.generic)) else ids
        if isinstance(values, (str, int)):
            values = [values]
        found = []
        for given in values:
            value = given.item() if isinstance(given, np.generic) else given
            if self.ids is None:
                number = type(value) is int and 0 <= value < size and value not in self.gone
                row = value if number else None
            else:
                row = self._rows.get(value) if type(value) is self.kind else None
            if row is not None:
                found.append(row)
            elif not missing:
                raise KeyError(f"{name}: expected ids of the index, got {value!r}")
        return np.array(found, np.int64)

    def forget(self, rows: Int64) -> None:
        """Mark documents as removed, and free their ids."""
        self.gone.update(rows.tolist())
        if self.ids is not None:
            for row in rows.tolist():
                self._rows.pop(self.ids[row], None)

    def names(self, rows: Int64) -> NDArray[Any]:
        """Give ids for numbers; -1 stays -1, or becomes None among strings."""
        if not self.ids:
            return rows
        if self._table is None:
            strings = self.kind is str
            self._table = np.array([*self.ids, None if strings else -1], object if strings else np.int64)
        named: NDArray[Any] = self._table[rows]  # -1 is the last
        return named


def _checked(value: Any, kind: type) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise TypeError(f"ids: expected strings only, got {type(value).__name__}")
        return str(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"ids: expected integers or strings, of one kind, got {type(value).__name__}")
    if not 0 <= value <= MAX_ID:
        raise ValueError(f"ids: expected 0..{MAX_ID}, got {value}")
    return int(value)
