"""The scores of anchor queries on disk while they are computed: no call of the scorer is lost.

One file: a header of 4 KiB that says for which queries and items it is, then the (k_q, n) float32 matrix, NaN
where there is no score yet. Each batch is written as soon as it is known.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ._arrays import Float32, Int64
from ._core import CancelledError, FormatError
from ._progress import Progress, reporter
from .scorers import Scorer, check_scores

__all__ = ["ScoreCheckpoint", "complete_scores"]

HEADER_BYTES = 4096
MAGIC = "whimbrel scores 1"


def fingerprint(values: Iterable[Any]) -> str:
    """Return a digest of queries or items; equal for equal `repr`."""
    digest = hashlib.sha256()
    for value in values:
        text = repr(value).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


class ScoreCheckpoint:
    """A matrix of scores that is filled bit by bit, in memory or in a file too.

    Parameters
    ----------
    queries, items : sequence
        What the rows and the columns stand for.
    path : path-like, optional
        The file to go on with, or to begin. None keeps the scores in memory only.

    Raises
    ------
    ValueError
        If the file is of other queries or items.
    FormatError
        If it is no such file, or truncated.
    """

    def __init__(self, queries: Sequence[Any], items: Sequence[Any], path: Any = None) -> None:
        self.scores: Float32 = np.full((len(queries), len(items)), np.nan, np.float32)
        self._path = path
        if path is None:
            return
        wanted = {
            "magic": MAGIC,
            "shape": list(self.scores.shape),
            "queries": fingerprint(queries),
            "items": fingerprint(items),
        }
        if os.path.exists(path) and os.path.getsize(path) > 0:
            self._read(wanted)
        else:
            with open(path, "wb") as file:
                file.write(json.dumps(wanted).encode().ljust(HEADER_BYTES))
                file.write(self.scores.tobytes())

    def _read(self, wanted: dict[str, Any]) -> None:
        with open(self._path, "rb") as file:
            try:
                found = json.loads(file.read(HEADER_BYTES))
            except ValueError:
                found = None
            if not isinstance(found, dict) or found.get("magic") != MAGIC:
                raise FormatError(f"checkpoint: expected scores of a fit, got something else in {self._path}")
            for key in ("shape", "queries", "items"):
                if found.get(key) != wanted[key]:
                    raise ValueError(
                        f"checkpoint: expected the {key} of this fit, {_short(wanted[key])}, "
                        f"got {_short(found.get(key))} in {self._path}"
                    )
            data = file.read()
        if len(data) != self.scores.nbytes:
            raise FormatError(
                f"checkpoint: expected {HEADER_BYTES + self.scores.nbytes} bytes, "
                f"got {HEADER_BYTES + len(data)} in {self._path}: it is truncated or damaged"
            )
        self.scores = np.frombuffer(data, np.float32).reshape(self.scores.shape).copy()

    def missing(self, query: int) -> Int64:
        """Items without a score for one query."""
        return np.flatnonzero(~np.isfinite(self.scores[query])).astype(np.int64)

    def batches(self, size: int) -> Iterator[list[tuple[int, Int64]]]:
        """Yield (query, items) without a score, as many queries together as give `size` scores."""
        batch: list[tuple[int, Int64]] = []
        room = size
        for query in range(len(self.scores)):
            items = self.missing(query)
            while len(items) > 0:
                batch.append((query, items[:room]))
                items, room = items[room:], room - len(batch[-1][1])
                if room == 0:
                    yield batch
                    batch, room = [], size
        if batch:
            yield batch

    def take(self, scores: Float32) -> None:
        """Keep the finite ones of scores of all pairs, where there is none yet."""
        if scores.shape != self.scores.shape:
            raise ValueError(f"anchor_scores: expected shape {self.scores.shape}, got {scores.shape}")
        for query in range(len(scores)):
            items = self.missing(query)
            self.put(query, items, scores[query, items])

    def put(self, query: int, items: Int64, scores: Float32) -> None:
        """Keep the finite ones of some scores, on disk too; `items` ascend."""
        kept = np.isfinite(scores)
        items, scores = items[kept], scores[kept]
        if len(items) == 0:
            return
        self.scores[query, items] = scores
        if self._path is None:
            return
        # One run of bytes: what lies between is there already, or NaN.
        first, last = int(items[0]), int(items[-1]) + 1
        offset = HEADER_BYTES + (query * self.scores.shape[1] + first) * self.scores.itemsize
        with open(self._path, "r+b") as file:
            file.seek(offset)
            file.write(self.scores[query, first:last].tobytes())


def complete_scores(
    found: ScoreCheckpoint, queries: Sequence[Any], scorer: Scorer, batch_size: int, progress: Progress
) -> None:
    """Ask for all scores that are missing, in batches; each batch is kept before the next one begins."""
    total = sum(len(found.missing(q)) for q in range(len(queries)))
    done = 0
    with reporter(progress, "scores") as report:
        for batch in found.batches(batch_size):
            answers = scorer.score_many([(queries[q], items) for q, items in batch])
            for (q, items), scores in zip(batch, answers, strict=True):
                found.put(q, items, scores)
                done += len(items)
            for (q, items), scores in zip(batch, answers, strict=True):
                check_scores(queries[q], items, scores)
            if report is not None and report(done, total) is False:
                raise CancelledError("cancelled by the progress callback")


def _short(value: Any) -> str:
    return value[:12] + "..." if isinstance(value, str) else str(value)
