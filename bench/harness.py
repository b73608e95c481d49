"""What all benches share: facts about the machine, timing, flags. What becomes of the numbers: results.py."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import data
from .worker import WorkerError

T = TypeVar("T")
Row = dict[str, Any]

PACKAGES = ("whimbrel", "numpy", "hnswlib", "faiss-cpu", "usearch", "scalable-vs", "pyvsag", "ngt")
RECALL_LEVELS = (0.90, 0.95, 0.99)


# ---------------------------------------------------------------- the machine


def cpu_flags() -> set[str]:
    """Instruction set extensions that the kernel reports; empty where it does not."""
    return set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), "")


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _commit() -> str | None:
    """Commit of the tree that holds this file, with "+changes" if it differs from it."""
    folder = Path(__file__).resolve().parent

    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD")[:12] + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def version(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def build_of_core() -> str | None:
    """Start of the SHA-256 of the compiled module: builds of one version differ."""
    spec = importlib.util.find_spec("whimbrel._core")
    if spec is None or spec.origin is None:
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:8]


def machine_facts() -> Row:
    """Everything about the machine that a number may depend on."""
    import whimbrel as wb

    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": n_cores(),
        "isa": wb.active_isa(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "commit": _commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def steal_seconds() -> float:
    """CPU time that the hypervisor took away since boot, all cores together; 0 where unknown."""
    try:
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


class Noise:
    """How much of the machine others took between its making and `row`."""

    def __init__(self) -> None:
        self._start, self._stolen = time.perf_counter(), steal_seconds()

    def row(self) -> Row:
        """Wall seconds, and the share of all cores' time that the hypervisor took away, in percent."""
        wall = time.perf_counter() - self._start
        stolen = (steal_seconds() - self._stolen) / (wall * (os.cpu_count() or 1))
        return {"wall_seconds": round(wall, 1), "steal_percent": round(100 * stolen, 2)}


# ---------------------------------------------------------------- measuring


def rate(call: Callable[[], object], items: int, least_seconds: float = 0.2) -> float:
    """Items per second of a call that handles `items`, repeated until it has taken long enough to time."""
    rounds, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < least_seconds or rounds == 0:
        call()
        rounds += 1
    return rounds * items / elapsed


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(items: Sequence[T], repetitions: int, first: int = 0) -> Iterator[T]:
    """Each item once per repetition, in a new order each time, so that a slow spell falls on all alike."""
    for repetition in range(first, first + repetitions):
        order = list(items)
        random.Random(repetition).shuffle(order)
        yield from order


# ---------------------------------------------------------------- command lines


def parser(description: str | None, datasets: Sequence[str], out: str) -> argparse.ArgumentParser:
    """Flags that every macro bench has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "command",
        nargs="?",
        choices=("run", "table"),
        default="run",
        help="measure and print the tables (default), or only print those of --out",
    )
    result.add_argument(
        "--data", type=Path, help="folder of the real sets, vec/*.npz; without it only generated ones"
    )
    result.add_argument(
        "--datasets",
        nargs="+",
        type=data.known_name,
        metavar="NAME",
        default=None,
        help=f"of {', '.join(data.NAMES)}, or files: a .hdf5 of ann-benchmarks, or BASE,QUERIES,METRIC; "
        f"default: {', '.join(datasets)}, as available",
    )
    result.add_argument("--n", type=int, help="use a fixed random subset of this many rows")
    result.add_argument("--queries", type=int, default=2_000, help="use at most this many queries")
    result.add_argument(
        "--cache",
        type=Path,
        default=data.DEFAULT_CACHE,
        help="folder for ground truth (default: %(default)s)",
    )
    result.add_argument(
        "--out",
        type=Path,
        default=Path("bench/results") / out,
        help="JSON lines, appended (default: %(default)s)",
    )
    result.add_argument("--quick", action="store_true", help="small sets, few repetitions: does it run?")
    result.set_defaults(default_datasets=datasets)
    return result


def chosen_datasets(args: argparse.Namespace) -> list[str]:
    """Sets that were named, or the default ones that can be had."""
    if args.datasets:
        return list(args.datasets)
    return data.available(args.default_datasets, args.data)


def log(message: str) -> None:
    """Progress, on stderr, so that stdout holds nothing but tables."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def main(run: Callable[[], None]) -> None:
    """Run a script; what the user can mend is one line and not a traceback."""
    try:
        run()
    except (data.DataError, WorkerError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; finished rows are kept") from None
