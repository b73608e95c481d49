"""Named data sets for the benches: real ones, generated ones, and files of the caller.

Real sets are read from the folder given as `--data`. Base and query rows are float32; sets with the metric
"cosine" have unit rows.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataError, DataSet, Float32, unit_rows
from .synthetic import GENERATED

# ---------------------------------------------------------------- real sets


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Read arrays of an .npz, with a message that names the file when it cannot be read."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; --data expects the folder that holds {path.parent.name}/{path.name}"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def minilm_100k(folder: Path) -> DataSet:
    """Sentence embeddings of English prose by all-MiniLM-L6-v2."""
    base, queries = read_arrays(folder / "vec" / "minilm100k_f16.npz", "base", "query")
    rows, points = unit_rows(base.astype(np.float32)), unit_rows(queries.astype(np.float32))
    return DataSet("minilm-100k", "cosine", rows, points, None, "all-MiniLM-L6-v2 sentence embeddings")


def mnist_784(folder: Path) -> DataSet:
    """Handwritten digits, one byte per pixel."""
    base, queries, labels = read_arrays(folder / "vec" / "mnist784_u8.npz", "base", "query", "base_label")
    rows, points = base.astype(np.float32), queries.astype(np.float32)
    return DataSet("mnist-784", "l2", rows, points, labels, "handwritten digits, 28 x 28 pixels")


def bigann_10k(folder: Path) -> DataSet:
    """Local image features (SIFT), one byte per value."""
    base, queries = read_arrays(folder / "vec" / "bigann10k_u8.npz", "base", "query")
    rows, points = base.astype(np.float32), queries.astype(np.float32)
    return DataSet("bigann10k", "l2", rows, points, None, "SIFT descriptors")


REAL: dict[str, Callable[[Path], DataSet]] = {
    "minilm-100k": minilm_100k,
    "mnist-784": mnist_784,
    "bigann10k": bigann_10k,
}
NAMES = (*REAL, *GENERATED)


# ---------------------------------------------------------------- sets in files of the caller

METRICS = ("l2", "ip", "cosine")
HDF5_METRICS = {"euclidean": "l2", "angular": "cosine", "ip": "ip", "dot": "ip"}


def known_name(name: str) -> str:
    """The name of a data set, or files that make one; for argparse."""
    if name not in NAMES and "," not in name and Path(name).suffix not in (".hdf5", ".h5"):
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(NAMES)}, or files, got {name!r}")
    return name


def short_name(name: str) -> str:
    """What rows call a data set: its name, or that of the file of its base."""
    return name if name in NAMES else Path(name.split(",")[0]).stem


def from_files(name: str) -> DataSet:
    """`FILE.hdf5` of ann-benchmarks, or `BASE,QUERIES,METRIC` in any format of `read_vectors`."""
    if "," in name:
        base, queries, metric = (*name.split(","), "l2")[:3]
        if metric not in METRICS:
            raise DataError(f"{name}: expected a metric of {', '.join(METRICS)}, got {metric!r}")
        rows, points = _read(base), _read(queries)
    else:
        rows, points = _read(name, "train"), _read(name, "test")
        metric = _hdf5_metric(Path(name))
    if rows.shape[1] != points.shape[1]:
        raise DataError(f"{name}: expected queries of dimension {rows.shape[1]}, got {points.shape[1]}")
    if metric == "cosine":
        rows, points = unit_rows(rows), unit_rows(points)
    return DataSet(short_name(name), metric, rows, points, None, name)


def _read(path: str, key: str | None = None) -> Float32:
    import whimbrel as wb

    try:
        array = wb.read_vectors(path, key)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (ValueError, ImportError) as error:  # their messages start with the path
        raise DataError(str(error)) from error
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise DataError(f"{path}: expected rows of real numbers, got {array.dtype} of shape {array.shape}")
    with np.errstate(over="ignore"):
        rows = array.astype(np.float32)
    if not np.all(np.isfinite(rows)):
        raise DataError(f"{path}: expected finite values of float32, got others")
    return rows


def _hdf5_metric(path: Path) -> str:
    import h5py

    with h5py.File(path, "r") as file:
        distance = str(file.attrs.get("distance"))
    if distance not in HDF5_METRICS:
        raise DataError(f"{path}: expected a distance of {', '.join(HDF5_METRICS)}, got {distance!r}")
    return HDF5_METRICS[distance]


# ---------------------------------------------------------------- loading


def available(names: list[str], folder: Path | None) -> list[str]:
    """Those of `names` that can be had: real sets need a folder."""
    return [name for name in names if folder is not None or name not in REAL]


def load(name: str, folder: Path | None = None, n: int | None = None, queries: int = 2_000) -> DataSet:
    """Read or generate a set; with `n`, a fixed random subset of its rows, in their relative order."""
    if name in GENERATED:
        full = GENERATED[name]()
    elif "," in name or Path(name).suffix in (".hdf5", ".h5"):
        full = from_files(name)
    elif name not in REAL:
        raise DataError(f"dataset: expected one of {', '.join(NAMES)}, got {name!r}")
    elif folder is None:
        raise DataError(f"dataset: {name} is read from a folder of real sets; name it with --data")
    else:
        full = REAL[name](folder)
    base, labels = full.base, full.labels
    if n is not None and n < len(base):
        rows = np.sort(np.random.default_rng(0).choice(len(base), n, replace=False))
        base, labels = base[rows], None if labels is None else labels[rows]
    return DataSet(full.name, full.metric, base, full.queries[:queries], labels, full.description)


@cache
def load_cached(name: str, folder: Path | None, n: int | None, queries: int) -> DataSet:
    """`load`, once per process."""
    return load(name, folder, n, queries)
