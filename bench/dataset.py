"""What a data set is. Where they come from: data.py and synthetic.py."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


class DataError(ValueError):
    """A data set that is unknown, missing or broken; the message is for the user."""


@dataclass(frozen=True)
class DataSet:
    """Vectors to index, vectors to look for, and what they are."""

    name: str
    metric: str
    base: Float32
    queries: Float32
    labels: NDArray[Any] | None
    description: str

    def facts(self) -> dict[str, Any]:
        """What a result row says about its data."""
        return {
            "dataset": self.name,
            "n": len(self.base),
            "dim": self.base.shape[1],
            "queries": len(self.queries),
            "metric": self.metric,
        }

    def checksum(self) -> str:
        """SHA-256 of metric, shapes and values."""
        digest = hashlib.sha256(f"{self.metric} {self.base.shape} {self.queries.shape}".encode())
        digest.update(self.base.data)
        digest.update(self.queries.data)
        return digest.hexdigest()


def unit_rows(rows: Float32) -> Float32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
