"""Exact neighbors and exact LID of a data set, computed once and kept; and recall against them."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataSet, Int64

DEFAULT_CACHE = Path(tempfile.gettempdir()) / "whimbrel-bench"


def cached_array(path: Path, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Read an array from `path`, or compute and keep it; a file that fails its own checksum is replaced."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values: NDArray[Any] = file["values"]
            if str(file["checksum"]) == hashlib.sha256(values.data).hexdigest():
                return values
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    values = np.ascontiguousarray(compute())
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as out:
        np.savez(out, values=values, checksum=hashlib.sha256(values.data).hexdigest())
    Path(out.name).replace(path)
    return values


def ground_truth(data: DataSet, cache_folder: Path = DEFAULT_CACHE, k: int = 10, threads: int = 0) -> Int64:
    """Ids of the exact `k` nearest base rows of each query, by `whimbrel.knn`; (q, k)."""
    import whimbrel as wb

    path = cache_folder / f"{data.name}-{data.checksum()[:16]}-truth{k}.npz"
    return cached_array(path, lambda: wb.knn(data.base, data.queries, k, data.metric, threads=threads).ids)


def exact_lid(data: DataSet, cache_folder: Path = DEFAULT_CACHE, k: int = 100) -> NDArray[np.float64]:
    """LID of each base row from its exact `k` nearest neighbors; (n,)."""
    import whimbrel as wb

    path = cache_folder / f"{data.name}-{data.checksum()[:16]}-lid{k}.npz"
    return cached_array(path, lambda: wb.estimate_lid(data.base, k, metric=data.metric))


def recall(found: NDArray[np.integer[Any]], truth: Int64) -> float:
    """Share of the true neighbors that were found."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True))
    return hits / truth.size
