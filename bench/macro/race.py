"""Contestants that do the same work, each in a process of its own, timed in turns.

For work without a search parameter to sweep: exact search, encodings, MaxSim. What the work is, and who can
do it: exact_peers.py, fde_peers.py, maxsim_peers.py.
"""

from __future__ import annotations

import argparse
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import harness, machine, results
from bench.machine import Row
from bench.worker import Worker, WorkerError

LEAST_SECONDS = 0.1


class Contestant(ABC):
    """One way to do the work; what it needs is made by its constructor, whose last argument is `threads`."""

    package: str  #: whose version is recorded
    threads: int

    @abstractmethod
    def work(self) -> object:
        """Do what is timed."""

    @abstractmethod
    def facts(self) -> Row:
        """What the row says beside the times: `items` that one `work` handles, and how good it is."""

    def seconds(self) -> float:
        """Time of one `work`, or the mean of some where it is short, on `threads` threads."""
        with self.limited():
            return 1 / harness.rate(self.work, 1, LEAST_SECONDS)

    def described(self) -> Row:
        """`facts` and the version."""
        with self.limited():
            return {**self.facts(), "version": machine.version(self.package)}

    def limited(self) -> contextlib.AbstractContextManager[Any]:
        """Hold BLAS and OpenMP to `threads`."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        limits: contextlib.AbstractContextManager[Any] = threadpool_limits(self.threads)
        return limits


@dataclass(frozen=True)
class Entry:
    """A contestant in the race: its class, and the environment of its process."""

    factory: Callable[..., Contestant]
    environment: Mapping[str, str | None] = field(default_factory=dict)


def race(
    out: results.ResultFile,
    kind: str,
    common: Row,
    entries: Mapping[str, Entry],
    arguments: Sequence[object],
    threads: int,
    repetitions: int,
) -> None:
    """Time all entries, interleaved; a row for each, and one that says why for those that fail."""
    noise = machine.Noise()
    workers: list[Worker] = []
    facts: dict[str, Row] = {}
    with contextlib.ExitStack() as stack:
        for name, entry in entries.items():
            environment = {"RAYON_NUM_THREADS": str(threads), **entry.environment}
            worker = Worker(name, entry.factory, *arguments, threads, environment=environment)
            stack.enter_context(worker)
            try:
                facts[name] = worker.call("described")
                worker.call("seconds")  # warms up, and starts threads
                workers.append(worker)
            except WorkerError as error:
                harness.log(f"FAILED {error}")
                out.write("failed", {**common, "engine": name, "threads": threads, "reason": str(error)})
        times: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for worker in harness.interleaved(workers, repetitions):
            times[worker.name].append(worker.call("seconds"))
    for name, seconds in times.items():
        out.write(kind, {**common, **facts[name], "engine": name, "threads": threads, "seconds": seconds})
    harness.log(f"{common['dataset']}: {threads} threads done")
    out.write("noise", {"dataset": common["dataset"], **noise.row()})


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that every race has."""
    both = sorted({1, machine.n_cores()})
    kind = harness.positive
    parser.add_argument("--threads", type=kind, nargs="+", default=both, help="default: one, and all cores")
    parser.add_argument("--repetitions", type=kind, default=5)


def rates(row: Row) -> list[float]:
    """Items a second in each repetition."""
    return [row["items"] / seconds for seconds in row["seconds"]]


def ratios(row: Row, other: Row | None) -> str | None:
    """How many times faster one was than the other, within each repetition."""
    if other is None:
        return None
    found = [a / b for a, b in zip(rates(row), rates(other), strict=True)]
    return results.with_range(found, 2, "x")


def by_threads(rows: Sequence[Row], kind: str) -> dict[int, dict[str, Row]]:
    """Rows of a kind by number of threads, then by engine."""
    mine = [row for row in rows if row["kind"] == kind]
    return {
        threads: {row["engine"]: row for row in mine if row["threads"] == threads}
        for threads in sorted({row["threads"] for row in mine})
    }
