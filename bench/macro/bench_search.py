"""Recall against speed, memory and build time of whimbrel and its peers: one run, one report.

Each index is built in a process of its own and saved; each timed pass loads it in a new process. Only one
process works at a time, and passes go round the engines in a new order each time, so that a slow spell of
the machine falls on all of them. Ratios are taken within a repetition, between speeds interpolated at equal
recall. Each engine is named by name[:key=value,...]; one that is named twice is compared with itself, and
whimbrel always is.

Every finished step is a row of DIR/search.jsonl and is not measured again: after an interrupt, give the same
command again.

  whimbrel bench --data DIR
  whimbrel bench --quick
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import data, engines, harness, results, stored_data
from bench.harness import RECALL_LEVELS, Row
from bench.macro.search_worker import BuildBench, SearchBench
from bench.worker import Worker, WorkerError

K = 10
DATASETS = ("minilm-100k", "mnist-784")
GENERATED = ("mixlid",)  # where there is no folder of real sets
ENGINES = (
    "hnswlib",
    "whimbrel",
    "faiss-hnsw",
    "faiss-hnsw:storage=sq8",
    "faiss-hnsw:storage=sq8,refine=true",
    "faiss-flat",
    "usearch",
    "usearch:dtype=f16",
    "usearch:dtype=i8",
    "svs:codes=lvq4x8",
    "svs:codes=leanvec4x8",
    "vsag",
    "numpy",
)
ON_DEMAND = ("ngt",)  # its build of 100,000 rows takes longer than half of the others together
QUICK_ENGINES = ("hnswlib", "whimbrel", "faiss-hnsw", "usearch", "svs:codes=lvq4x8", "vsag", "ngt", "numpy")
FILE = "search.jsonl"


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
        self.stored = stored_data.store(rows, args.cache)
        self.truth = data.ground_truth(rows, args.cache, K)
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
        version = harness.version(kind.package)
        build = harness.build_of_core() if kind.package == "whimbrel" else None
        return {**self.common, "engine": cell.engine, "seed": cell.seed, "version": version, "core": build}

    def measure(self) -> None:
        """Do what the file does not have yet, one row after the other."""
        name = self.common["dataset"]
        self.out.write("plan", {**self.common, "engines": self.args.engines, "seeds": self.args.seeds})
        noise = harness.Noise()
        for repetition in range(self.args.builds):
            for cell in harness.interleaved(list(self.cells), 1, first=repetition):
                self._step(cell, "build", repetition)
        for cell in list(self.cells):
            self._step(cell, "sweep", 0)
        for repetition in range(self.args.repetitions):
            for cell in harness.interleaved(list(self.cells), 1, first=repetition):
                self._step(cell, "pass", repetition)
        for cell in self.cells:
            shutil.rmtree(self._folder(cell), ignore_errors=True)
        self.out.write("noise", {"dataset": name, **noise.row()})

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


def parser() -> argparse.ArgumentParser:
    """Flags of a run."""
    result = harness.parser(__doc__, DATASETS, "")
    result.prog = "whimbrel bench"
    result.set_defaults(out=Path("bench/results/search"))
    for action in result._actions:
        if action.dest == "out":
            action.metavar, action.help = "DIR", f"folder of {FILE}, report.md, report.html and pictures"
    result.add_argument(
        "--engines",
        "--libraries",
        nargs="+",
        metavar="ENGINE",
        help="name[:key=value,...] of " + ", ".join(engines.ENGINES),
    )
    result.add_argument("--baseline", default="hnswlib", help="what ratios are to (default: %(default)s)")
    result.add_argument("--order-effect", type=Path, help="result file of bench_insertion_order, to be drawn")
    result.add_argument("--M", type=int, default=16)
    result.add_argument("--ef-construction", type=int, default=200)
    result.add_argument("--seeds", type=int, nargs="+", default=[1])
    result.add_argument("--threads", type=int, default=harness.n_cores(), help="of builds and of batches")
    result.add_argument("--builds", type=int, default=1, help="times that each index is built")
    result.add_argument("--repetitions", type=int, default=3, help="timed passes")
    result.add_argument("--timed", type=int, default=1_000, help="queries per timed pass; recall uses all")
    result.add_argument("--limit", type=float, default=600, help="seconds allowed for one build or pass")
    return result


def settle(args: argparse.Namespace, flags: argparse.ArgumentParser) -> None:
    """Fill in what depends on other flags, and refuse engines that are not known."""
    args.least = 0.15
    if args.quick:
        args.n, args.queries, args.repetitions = args.n or 5_000, min(args.queries, 500), 4
        args.timed, args.least, args.limit = 200, 0.05, min(args.limit, 60)
    args.engines = list(args.engines or (QUICK_ENGINES if args.quick else ENGINES))
    twin = "whimbrel" if "whimbrel" in args.engines else args.engines[0]
    if args.engines.count(twin) == 1:
        args.engines.append(twin)
    args.engines = engines.distinct(args.engines)
    for specification in args.engines:
        try:
            engines.parse(specification)
        except ValueError as error:
            flags.error(str(error))


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, write the report."""
    from bench.macro.search_report import write_report

    flags = parser()
    args = flags.parse_args(argv)
    settle(args, flags)
    out = results.ResultFile(args.out / FILE)
    datasets = harness.chosen_datasets(args) or list(GENERATED)
    try:
        if args.command == "run":
            out.require_this_machine()
            for dataset in datasets:
                Run(args, dataset, out).measure()
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; finished rows are in {out.path}, the same command goes on") from None
    sys.stdout.write(write_report(out, args.out, args.baseline, args.order_effect))


if __name__ == "__main__":
    harness.main(run)
