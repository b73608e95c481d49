"""Data sets as arrays in a folder of the cache, so that every process that measures opens them at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .dataset import DataError, DataSet


def store(data: DataSet, cache_folder: Path) -> Path:
    """Write a data set, unless it is there; the folder has the checksum in its name."""
    folder = cache_folder / f"{data.name}-{data.checksum()[:16]}"
    if folder.is_dir():
        return folder
    cache_folder.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=cache_folder))
    np.save(half / "base.npy", data.base)
    np.save(half / "queries.npy", data.queries)
    if data.labels is not None:
        np.save(half / "labels.npy", data.labels)
    facts = {"name": data.name, "metric": data.metric, "description": data.description}
    (half / "facts.json").write_text(json.dumps(facts))
    try:
        half.rename(folder)  # whole or not at all
    except OSError:  # another process was faster
        shutil.rmtree(half)
    return folder


def read(folder: Path, base: bool = True) -> DataSet:
    """Read a stored data set; without `base` its rows are mapped and cost no memory."""
    try:
        facts = json.loads((folder / "facts.json").read_text())
        rows = np.load(folder / "base.npy", mmap_mode=None if base else "r", allow_pickle=False)
        queries = np.load(folder / "queries.npy", allow_pickle=False)
        path = folder / "labels.npy"
        labels = np.load(path, allow_pickle=False) if path.exists() else None
        return DataSet(facts["name"], facts["metric"], rows, queries, labels, facts["description"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{folder}: damaged, remove it and run again: {error}") from error
