"""The two libraries of bench_change.py, with what changes an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.dataset import Float32, Int64
from bench.engines import Hnswlib, Whimbrel


class ChangingWhimbrel(Whimbrel):
    """Changes run on one thread, beside the searches."""

    def add(self, ids: Int64, rows: Float32) -> None:
        self._there().add(rows, ids, threads=1)

    def update(self, ids: Int64, rows: Float32) -> None:
        self._there().update(ids, rows, threads=1)

    def remove(self, ids: Int64) -> None:
        self._there().remove(ids, threads=1)

    def compact(self) -> None:
        self._there().compact(threads=1)

    def refine(self) -> None:
        self._there().refine(threads=1)

    def _there(self) -> Any:
        assert self.index is not None
        return self.index


class ChangingHnswlib(Hnswlib):
    """Documented as not made for searches beside additions, and used so. It marks what is removed."""

    ROOM = 2  #: times the rows of the saved index

    def load(self, folder: Path, dim: int) -> None:
        super().load(folder, dim)
        self.index.resize_index(self.ROOM * self.index.get_current_count())

    def add(self, ids: Int64, rows: Float32) -> None:
        self.index.add_items(rows, ids, num_threads=1)

    update = add

    def remove(self, ids: Int64) -> None:
        for label in ids.tolist():
            self.index.mark_deleted(label)


CHANGING: dict[str, type[ChangingWhimbrel] | type[ChangingHnswlib]] = {
    "whimbrel": ChangingWhimbrel,
    "hnswlib": ChangingHnswlib,
}
