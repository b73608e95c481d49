"""Named data sets for the benches, and their exact neighbors.

Real sets are read from the folder given as `--data`; the others are generated, the same on every machine with
the same NumPy. Base and query rows are float32; sets with the metric "cosine" have unit rows.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

DEFAULT_CACHE = Path(tempfile.gettempdir()) / "whimbrel-bench"


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


# ---------------------------------------------------------------- generated sets


def _basis(rng: np.random.Generator, latent: int, dim: int) -> NDArray[np.float64]:
    """`latent` orthonormal rows in a random direction."""
    return np.linalg.qr(rng.standard_normal((dim, latent)))[0].T


def _split(
    name: str, points: NDArray[Any], labels: NDArray[Any] | None, n_queries: int, description: str
) -> DataSet:
    """Make the first rows the queries; rows are independent, so they are as good as any."""
    rows = points.astype(np.float32)
    kept = None if labels is None else labels[n_queries:]
    base, queries = rows[n_queries:].copy(), rows[:n_queries].copy()
    return DataSet(name, "l2", base, queries, kept, description)


def mixlid() -> DataSet:
    """Forty clusters in random subspaces of dimension 4 to 64: the LID truly differs from point to point."""
    rng = np.random.default_rng(5)
    n, n_queries, dim = 40_000, 2_000, 128
    labels = rng.integers(0, 40, n + n_queries)
    points = np.empty((n + n_queries, dim))
    for cluster in range(40):
        latent = (4, 8, 16, 32, 64)[cluster % 5]
        basis = _basis(rng, latent, dim)
        rows = np.flatnonzero(labels == cluster)
        center = 0.5 * rng.standard_normal(dim)
        points[rows] = center + rng.standard_normal((len(rows), latent)) @ basis
    return _split("mixlid", points, labels, n_queries, "40 Gaussian clusters of latent dimension 4 to 64")


def gauss32() -> DataSet:
    """One Gaussian in a random subspace: nothing for an order to find."""
    rng = np.random.default_rng(32)
    basis = _basis(rng, 32, 128)
    points = rng.standard_normal((32_000, 32)) @ basis
    return _split("gauss32", points, None, 2_000, "one Gaussian of latent dimension 32")


def tail() -> DataSet:
    """A Gaussian whose points are scaled by Gamma(2, 1): a dense core and a sparse periphery."""
    rng = np.random.default_rng(7)
    basis = _basis(rng, 32, 128)
    scale = rng.gamma(2.0, 1.0, (9_000, 1))
    points = scale * (rng.standard_normal((9_000, 32)) @ basis)
    return _split("tail", points, None, 1_000, "latent dimension 32, norms with a heavy tail")


def mix() -> DataSet:
    """Forty well separated clusters of one radius, in subspaces of dimension 2 to 64."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 40, 9_000)
    points = np.empty((9_000, 128))
    for cluster in range(40):
        latent = (2, 4, 8, 16, 32, 64)[cluster % 6]
        basis = _basis(rng, latent, 128) * (8 / np.sqrt(latent))  # root mean square radius 8
        rows = np.flatnonzero(labels == cluster)
        points[rows] = rng.standard_normal(128) + rng.standard_normal((len(rows), latent)) @ basis
    return _split("mix", points, labels, 1_000, "40 clusters of latent dimension 2 to 64, one radius")


def mixture_500k() -> DataSet:
    """A thousand clusters of latent dimension 24 around centers in one more subspace, plus noise."""
    rng = np.random.default_rng(11)
    n, n_queries, dim, latent, clusters = 500_000, 2_000, 128, 24, 1_000
    labels = rng.choice(clusters, n + n_queries, p=rng.dirichlet(np.full(clusters, 2.0)))
    centers = (0.8 * rng.standard_normal((clusters, latent)) @ _basis(rng, latent, dim)).astype(np.float32)
    lengths = np.linspace(1, 0.5, latent, dtype=np.float32)  # of the axes of a cluster
    points = 0.02 * rng.standard_normal((n + n_queries, dim), dtype=np.float32)
    for cluster in range(clusters):
        basis = _basis(rng, latent, dim).astype(np.float32)
        rows = np.flatnonzero(labels == cluster)
        latents = rng.standard_normal((len(rows), latent), dtype=np.float32) * lengths
        points[rows] += centers[cluster] + latents @ basis
    return _split("mixture-500k", points, labels, n_queries, "1000 Gaussian clusters of latent dimension 24")


def cube16() -> DataSet:
    """Uniform in a cube of 16 dimensions, turned into 128: intrinsic dimension 16 but at its faces."""
    rng = np.random.default_rng(16)
    points = rng.random((21_000, 16)) @ _basis(rng, 16, 128)
    return _split("cube16", points, None, 1_000, "uniform in a cube of dimension 16")


def clustered_order() -> DataSet:
    """The rows of `mix`, one cluster after the other, as from a crawl or a sorted table."""
    rows = mix()
    assert rows.labels is not None
    order = np.argsort(rows.labels, kind="stable")
    base, labels = rows.base[order], rows.labels[order]
    return DataSet("clustered-order", "l2", base, rows.queries, labels, "the set mix, sorted by cluster")


def near_duplicates() -> DataSet:
    """Ten almost equal copies of 2,000 points: the nearest neighbors are far nearer than all others."""
    rng = np.random.default_rng(10)
    points = np.repeat(rng.standard_normal((2_100, 32)), 10, axis=0) @ _basis(rng, 32, 128)
    points += 1e-3 * rng.standard_normal(points.shape)
    rng.shuffle(points)
    return _split("near-duplicates", points, None, 1_000, "ten almost equal copies of each point")


GENERATED: dict[str, Callable[[], DataSet]] = {
    "mixlid": mixlid,
    "gauss32": gauss32,
    "tail": tail,
    "mix": mix,
    "cube16": cube16,
    "clustered-order": clustered_order,
    "near-duplicates": near_duplicates,
    "mixture-500k": mixture_500k,
}


# ---------------------------------------------------------------- real sets


def _unit(rows: Float32) -> Float32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Read arrays of an .npz, with a message that names the file when it cannot be read."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; --data expects the folder that holds vec/{path.name}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def minilm_100k(folder: Path) -> DataSet:
    """Sentence embeddings of English prose by all-MiniLM-L6-v2."""
    base, queries = _arrays(folder / "vec" / "minilm100k_f16.npz", "base", "query")
    rows, points = _unit(base.astype(np.float32)), _unit(queries.astype(np.float32))
    return DataSet("minilm-100k", "cosine", rows, points, None, "all-MiniLM-L6-v2 sentence embeddings")


def mnist_784(folder: Path) -> DataSet:
    """Handwritten digits, one byte per pixel."""
    base, queries, labels = _arrays(folder / "vec" / "mnist784_u8.npz", "base", "query", "base_label")
    rows, points = base.astype(np.float32), queries.astype(np.float32)
    return DataSet("mnist-784", "l2", rows, points, labels, "handwritten digits, 28 x 28 pixels")


def bigann_10k(folder: Path) -> DataSet:
    """Local image features (SIFT), one byte per value."""
    base, queries = _arrays(folder / "vec" / "bigann10k_u8.npz", "base", "query")
    rows, points = base.astype(np.float32), queries.astype(np.float32)
    return DataSet("bigann10k", "l2", rows, points, None, "SIFT descriptors")


REAL: dict[str, Callable[[Path], DataSet]] = {
    "minilm-100k": minilm_100k,
    "mnist-784": mnist_784,
    "bigann10k": bigann_10k,
}
NAMES = (*REAL, *GENERATED)


# ---------------------------------------------------------------- sets in files of the caller

HDF5_METRICS = {"euclidean": "l2", "angular": "cosine", "ip": "ip", "dot": "ip"}


def known_name(name: str) -> str:
    """The name of a data set, or files that make one; for argparse."""
    if name not in NAMES and "," not in name and Path(name).suffix not in (".hdf5", ".h5"):
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(NAMES)}, or files, got {name!r}")
    return name


def from_files(name: str) -> DataSet:
    """`FILE.hdf5` of ann-benchmarks, or `BASE,QUERIES,METRIC` in any format of `read_vectors`."""
    import whimbrel as wb

    try:
        if "," in name:
            base, queries, metric = (*name.split(","), "l2")[:3]
            rows, points = wb.read_vectors(base), wb.read_vectors(queries)
            if metric not in ("l2", "ip", "cosine"):
                raise DataError(f"{name}: expected the metric l2, ip or cosine, got {metric!r}")
            title = Path(base).stem
        else:
            rows, points = wb.read_vectors(name, "train"), wb.read_vectors(name, "test")
            metric, title = _hdf5_metric(Path(name)), Path(name).stem
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    if rows.shape[1] != points.shape[1]:
        raise DataError(f"{name}: expected queries of dimension {rows.shape[1]}, got {points.shape[1]}")
    rows, points = rows.astype(np.float32), points.astype(np.float32)
    if metric == "cosine":
        rows, points = _unit(rows), _unit(points)
    return DataSet(title, metric, rows, points, None, name)


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
