"""The steps of bench_search.py over one data set: builds, sweeps and timed passes, each a row of the file."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import data, engines, harness, machine, neighbors, results, stored_data
from bench.dataset import DataError
from bench.harness import RECALL_LEVELS
from bench.machine import Noise, Row
from bench.macro.search_worker import BuildBench, SearchBench
from bench.worker import Worker, WorkerError

K = 10


@dataclass(frozen=True)
class Cell:
    """One index: an engine over a data set, with a seed."""

    engine: str
    seed: int


class Run:
    """All steps of one data set."""

    def __init__(self, args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
        self.args, self.out = args, out
        rows = data.load(dataset, args.data, args.n, args.queries)
        if len(rows.base) < K:
            raise DataError(f"{dataset}: expected at least {K} rows, got {len(rows.base)}")
        self.stored = stored_data.store(rows, args.cache)
        self.truth = neighbors.ground_truth(rows, args.cache, K)
        self.common = {
            **rows.facts(),
            "checksum": rows.checksum()[:16],
            "M": args.M,
            "ef_construction": args.ef_construction,
            "threads": args.threads,
            "k": K,
            "timed": args.timed,
            "least_seconds": args.least,
        }
        self.cells = [Cell(engine, seed) for seed in args.seeds for engine in args.engines]

    def identity(self, cell: Cell) -> Row:
        """What makes two rows measurements of the same thing."""
        kind, _ = engines.parse(cell.engine)
        version = machine.version(kind.package)
        build = machine.build_of_core() if kind.package == "whimbrel" else None
        return {**self.common, "engine": cell.engine, "seed": cell.seed, "version": version, "core": build}

    def measure(self) -> None:
        """Do what the file does not have yet, one row after the other."""
        name = self.common["dataset"]
        self.out.write("plan", {**self.common, "engines": self.args.engines, "seeds": self.args.seeds})
        noise = Noise()
        try:
            self._steps()
        finally:  # of interrupted runs too
            self.out.write("noise", {"dataset": name, **noise.row()})
        for cell in self.cells:
            shutil.rmtree(self._folder(cell), ignore_errors=True)

    def _steps(self) -> None:
        for repetition in range(self.args.builds):
            for cell in harness.interleaved(list(self.cells), 1, first=repetition):
                self._step(cell, "build", repetition)
        for cell in list(self.cells):
            self._step(cell, "sweep", 0)
        for repetition in range(self.args.repetitions):
            for cell in harness.interleaved(list(self.cells), 1, first=repetition):
                self._step(cell, "pass", repetition)

    def _step(self, cell: Cell, kind: str, repetition: int) -> None:
        """One measurement, unless it is there; a failure is a row, and the end of the cell."""
        if cell not in self.cells:
            return
        identity = {**self.identity(cell), "repetition": repetition}
        if self.out.find(kind, identity):
            return
        label = f"{self.common['dataset']} {cell.engine}, seed {cell.seed}: {kind} {repetition}"
        try:
            if kind != "build" and not self._folder(cell).is_dir():
                self._build(cell)  # its files went with the cache
            row = {"build": self._build, "sweep": self._sweep, "pass": self._pass}[kind](cell)
        except WorkerError as error:
            harness.log(f"{label}: FAILED {error}")
            self.out.write("failed", {**identity, "step": kind, "reason": str(error)})
            self.cells.remove(cell)
            return
        self.out.write(kind, {**identity, **row})
        harness.log(f"{label}: {_summary(kind, row)}")

    def _folder(self, cell: Cell) -> Path:
        """Where the files of an index are kept until all passes are done."""
        text = json.dumps(self.identity(cell), sort_keys=True)
        return Path(self.args.cache) / "indexes" / hashlib.sha256(text.encode()).hexdigest()[:16]

    def _worker(self, cell: Cell, factory: type, *args: object) -> Worker:
        kind, _ = engines.parse(cell.engine)
        return Worker(cell.engine, factory, *args, environment=kind.environment())

    def _build(self, cell: Cell) -> Row:
        final = self._folder(cell)
        final.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=final.parent))
        try:
            with self._worker(cell, BuildBench) as worker:
                settings = {**self.common, "seed": cell.seed}
                args = (cell.engine, settings, self.stored, half, self.args.threads)
                row: Row = worker.call("run", *args, limit=self.args.limit)
            if not final.exists():
                half.rename(final)  # whole or not at all
        finally:
            shutil.rmtree(half, ignore_errors=True)
        return row

    def _search(self, cell: Cell) -> Worker:
        settings = {**self.common, "seed": cell.seed}
        args = (cell.engine, settings, self.stored, self.truth, self._folder(cell))
        return self._worker(cell, SearchBench, *args)

    def _sweep(self, cell: Cell) -> Row:
        with self._search(cell) as worker:
            row: Row = worker.call("sweep", self.args.threads, limit=self.args.limit)
            return row

    def _pass(self, cell: Cell) -> Row:
        sweep = self.out.find("sweep", {**self.identity(cell), "repetition": 0})[-1]
        points = worth_timing(sweep["points"])
        with self._search(cell) as worker:
            args = (points, self.args.timed, self.args.threads, self.args.least)
            return {"points": worker.call("speeds", *args, limit=self.args.limit)}


def worth_timing(points: Sequence[Row]) -> list[Row]:
    """The first and the last point, and those beside each recall level."""
    chosen = {0, len(points) - 1}
    for level in RECALL_LEVELS:
        for i in range(len(points) - 1):
            if points[i]["recall"] <= level <= points[i + 1]["recall"]:
                chosen |= {i, i + 1}
    return [points[i] for i in sorted(chosen)]


def _summary(kind: str, row: Row) -> str:
    if kind == "build":
        return f"{row['seconds']:.1f} s, {row['disk_bytes'] / 2**20:,.0f} MiB"
    points = row["points"]
    if kind == "sweep":
        return f"recall {points[0]['recall']:.3f} to {points[-1]['recall']:.3f}"
    return ", ".join(f"{point['single']:,.0f}/s at {point['recall']:.3f}" for point in points)
