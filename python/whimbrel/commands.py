"""What each command of the command line does with its arguments."""

from __future__ import annotations

import errno
import importlib
import os
import platform
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import __version__, active_isa, available_isas
from .hnsw import HnswIndex
from .lid_report import lid_report
from .vector_files import HDF5, read_vectors

__all__ = ["bench", "build", "demo", "info", "lid", "search"]


def info(args: Namespace) -> None:
    """Print facts about the package and the machine, or about one index."""
    if args.index is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        rows = {
            "whimbrel": __version__,
            "instruction set": f"{active_isa()} (of {', '.join(available_isas())})",
            "cores": cores,
            "python": f"{platform.python_version()}, numpy {np.__version__}",
            "platform": platform.platform(),
        }
    else:
        index = HnswIndex.load(args.index)
        stats, health = index.stats, index.validate()
        rows = {
            "vectors": f"{stats.size:,} x {stats.dim}, {index.metric}",
            "graph": f"M {index.M}, ef_construction {index.ef_construction}, seed {index.seed}",
            "default ef": index.ef_search,
            "levels": " ".join(f"{n:,}" for n in stats.level_sizes),
            "mean degree": f"{stats.mean_degree:.1f} of {2 * index.M}",
            "memory": f"{stats.memory_bytes / 1e6:,.1f} MB",
            "unreachable": f"{health.unreachable:,} nodes",
            "dead edges": f"{health.dead_edges:,}",
        }
    for name, value in rows.items():
        print(f"{name:<16} {value}")


def build(args: Namespace) -> None:
    """Build an index from a file of vectors and save it."""
    vectors = _read(args.vectors, args.key, "train")
    labels = None if args.labels is None else np.load(args.labels, allow_pickle=False)
    if not Path(args.out).absolute().parent.is_dir():  # said now, not after the build
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), args.out)
    start = time.perf_counter()
    index = HnswIndex.build(
        vectors,
        metric=args.metric,
        M=args.M,
        ef_construction=args.ef_construction,
        order=args.order,
        labels=labels,
        seed=args.seed,
        threads=args.threads,
        progress=args.progress,
    )
    total = time.perf_counter() - start
    index.save(args.out)
    stats = index.stats
    print(
        f"{stats.size:,} vectors of dimension {stats.dim}, order {args.order}: {total:.1f} s, of which the "
        f"graph took {stats.build_seconds:.1f}; mean degree {stats.mean_degree:.1f}, "
        f"{stats.memory_bytes / 1e6:,.1f} MB -> {args.out}"
    )


def search(args: Namespace) -> None:
    """Search an index for every query of a file."""
    index = HnswIndex.load(args.index)
    queries = _read(args.queries, args.key, "test")
    start = time.perf_counter()
    hits, counts = index.search_with_counts(queries, args.k, ef_search=args.ef, threads=args.threads)
    seconds = time.perf_counter() - start
    if args.out is None:
        for ids, distances in zip(*hits, strict=True):
            print(" ".join(f"{i}:{d:.6g}" for i, d in zip(ids, distances, strict=True)))
    elif args.out.endswith(".npz"):
        np.savez(args.out, ids=hits.ids, distances=hits.distances)
    else:
        np.save(args.out, hits.ids)
    cost = f"{counts.distances.mean():,.0f} distances each" if len(queries) else "none"
    print(f"{len(queries):,} queries in {seconds:.3f} s, {cost}", file=sys.stderr)
    if args.ground_truth is not None:
        truth = _read(args.ground_truth, None, "neighbors")
        print(f"recall@{args.k} {_recall(hits.ids, truth):.4f}", file=sys.stderr)


def lid(args: Namespace) -> None:
    """Print a LID report of a file of vectors."""
    vectors = _read(args.vectors, args.key, "train")
    report = lid_report(vectors, args.k, metric=args.metric, threads=args.threads, progress=args.progress)
    print(report)
    if args.out is not None:
        np.save(args.out, report.lid)


def demo(args: Namespace) -> None:
    """Run the main job on the documentation of the installed Python."""
    # Commands of their own size, with imports nobody else needs.
    if args.task == "cross-encoder":
        from .demo_cross_encoder import run_cross_encoder_demo

        run_cross_encoder_demo(args.passages, args.threads, args.model)
        return
    if args.model is not None:
        raise ValueError("--model: expected with --task cross-encoder only")
    if args.task == "multivector":
        from .demo_multi_vector import run_demo
    else:
        from .demo import run_demo

    run_demo(args.passages, args.threads)


def bench(words: list[str]) -> None:
    """Run the benchmark harness, which is part of a source checkout and not of the package."""
    here = Path.cwd()
    roots = (here, *here.parents, Path(__file__).resolve().parents[2])  # the last: an editable install
    root = next(
        (r for r in roots if (r / "bench/harness.py").is_file() and (r / "python/whimbrel").is_dir()), None
    )
    if root is None:
        raise FileNotFoundError(
            "bench: expected the current directory to be in a source checkout of whimbrel, which has the "
            "harness in bench/; it is no part of the installed package"
        )
    sys.path.insert(0, str(root))
    importlib.import_module("bench.__main__").main(words)


def _recall(ids: NDArray[Any], truth: NDArray[Any]) -> float:
    k = ids.shape[1]
    if len(truth) != len(ids) or truth.shape[1] < k:
        raise ValueError(f"ground truth: expected shape ({len(ids)}, {k} or more), got {truth.shape}")
    hits = [len(np.intersect1d(a, b)) for a, b in zip(ids, truth[:, :k], strict=True)]
    return sum(hits) / max(ids.size, 1)


def _read(path: str, key: str | None, hdf5_key: str) -> NDArray[Any]:
    if key is None and Path(path).suffix.lower() in HDF5:
        key = hdf5_key
    return read_vectors(path, key)
