"""Recall against speed of whimbrel and hnswlib: build seconds, then queries per second over a sweep of ef.

Each engine lives in a process of its own; builds and timed passes are interleaved over the repetitions.
Ratios are taken within a repetition, between speeds interpolated at equal recall. An engine named twice is
compared with itself.

  python -m bench.macro.bench_search --data DIR --engines hnswlib whimbrel whimbrel:keep_pruned=false
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench import data, engines, harness, results
from bench.harness import RECALL_LEVELS, Row
from bench.macro.search_tables import MODES, K, tables
from bench.worker import Worker, WorkerError

EFS = (
    10,
    12,
    14,
    17,
    20,
    24,
    28,
    34,
    40,
    48,
    56,
    68,
    80,
    96,
    112,
    136,
    160,
    192,
    224,
    272,
    320,
    400,
    500,
    640,
)
RECALL_STOP = 0.993


class EngineBench:
    """One engine over one data set, in its own process."""

    def __init__(
        self, specification: str, settings: Row, source: tuple[str, Path | None, int | None, int], cache: Path
    ) -> None:
        self.data = data.load(*source)
        self.truth = data.ground_truth(self.data, cache, K)
        kind, options = engines.parse(specification)
        self.engine = kind(self.data.metric, **{**settings, **options})

    def warm_up(self, threads: int) -> None:
        """Import, start threads, touch code, on a few rows."""
        labels = None if self.data.labels is None else self.data.labels[:500]
        few = data.DataSet("few", self.data.metric, self.data.base[:500], self.data.queries, labels, "")
        self.engine.build(few, threads)
        self.engine.set_ef(20)
        self.engine.search(few.queries[:50], K, threads)

    def build(self, threads: int) -> float:
        """Seconds of one build; the last index is the one that is searched."""
        return harness.seconds(lambda: self.engine.build(self.data, threads))

    def facts(self) -> Row:
        """What the last index is like."""
        level0 = self.engine.level0()
        return {
            **self.data.facts(),
            "M": self.engine.M,
            "ef_construction": self.engine.ef_construction,
            "seed": self.engine.seed,
            "version": harness.version(self.engine.package),
            "index_bytes": self.engine.index_bytes(),
            **(asdict(level0) if level0 else {}),
        }

    def sweep(self, threads: int) -> list[Row]:
        """Recall and costs over ef, until the recall is high enough."""
        points: list[Row] = []
        for ef in EFS:
            if ef > len(self.data.base):
                break
            self.engine.set_ef(ef)
            found, counts = self.engine.search_counted(self.data.queries, K, threads)
            recall = data.recall(found, self.truth)
            points.append({"ef": ef, "recall": recall, **asdict(counts)})
            if recall >= RECALL_STOP:
                break
        return points

    def speeds(self, efs: Sequence[int], timed: int, threads: int) -> list[dict[str, float]]:
        """Queries per second at each ef, in each mode."""
        queries, engine = np.ascontiguousarray(self.data.queries[:timed]), self.engine

        def one_by_one() -> None:
            for query in queries:
                engine.search_one(query, K)

        result = []
        for ef in efs:
            engine.set_ef(ef)
            engine.search(queries[:50], K, 1)  # warm caches, and the pool below
            single = harness.rate(one_by_one, len(queries))
            batch = harness.rate(lambda: engine.search(queries, K, 1), len(queries))
            engine.search(queries[:50], K, threads)
            batch_threads = harness.rate(lambda: engine.search(queries, K, threads), len(queries))
            result.append({"single": single, "batch": batch, "batch_threads": batch_threads})
        return result


def worth_timing(points: Sequence[Row]) -> list[int]:
    """Indices from the last point below the lowest recall level to the first above the highest."""
    below = [i for i, point in enumerate(points) if point["recall"] < RECALL_LEVELS[0]]
    above = [i for i, point in enumerate(points) if point["recall"] >= RECALL_LEVELS[-1]]
    return list(range(below[-1] if below else 0, (above[0] if above else len(points) - 1) + 1))


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Build and search one data set with all engines, and write the rows."""
    source = (dataset, args.data, args.n, args.queries)
    data.ground_truth(data.load(*source), args.cache, K)  # once, for all workers
    noise = harness.Noise()
    settings = {"M": args.M, "ef_construction": args.ef_construction, "seed": args.seed}
    workers: list[Worker] = []
    seconds: dict[str, list[float]] = {}

    def failed(worker: Worker, error: WorkerError) -> None:
        harness.log(f"FAILED {error}")
        out.write("failed", {"dataset": dataset, "engine": worker.name, "reason": str(error)})
        workers.remove(worker)
        worker.close()

    for name in engines.distinct(args.engines):
        worker = Worker(name, EngineBench, name, settings, source, args.cache)
        workers.append(worker)
        seconds[name] = []
        try:
            worker.call("warm_up", args.threads)
        except WorkerError as error:
            failed(worker, error)

    for worker in harness.interleaved(list(workers), args.builds):
        if worker not in workers:
            continue
        try:
            seconds[worker.name].append(worker.call("build", args.threads))
            harness.log(f"{dataset} {worker.name}: built in {seconds[worker.name][-1]:.2f} s")
        except WorkerError as error:
            failed(worker, error)

    about: dict[str, Row] = {}
    points: dict[str, list[Row]] = {}
    for worker in list(workers):
        try:
            facts = worker.call("facts")
            points[worker.name] = worker.call("sweep", args.threads)
        except WorkerError as error:
            failed(worker, error)
            continue
        facts |= {"engine": worker.name, "threads": args.threads}
        about[worker.name] = facts
        out.write("build", {**facts, "seconds": seconds[worker.name]})

    timed = {name: worth_timing(rows) for name, rows in points.items()}
    passes: dict[str, list[list[dict[str, float]]]] = {name: [] for name in points}
    for worker in harness.interleaved(list(workers), args.repetitions):
        if worker not in workers:
            continue
        rows = points[worker.name]
        efs = [rows[i]["ef"] for i in timed[worker.name]]
        try:
            passes[worker.name].append(worker.call("speeds", efs, args.timed, args.threads))
            harness.log(f"{dataset} {worker.name}: pass {len(passes[worker.name])}")
        except WorkerError as error:
            failed(worker, error)

    for worker in workers:
        for i, point in enumerate(points[worker.name]):
            row = {**about[worker.name], "k": K, **point}
            if i in timed[worker.name]:
                at = timed[worker.name].index(i)
                row |= {mode: [speeds[at][mode] for speeds in passes[worker.name]] for mode in MODES}
            out.write("search", row)
        worker.close()
    out.write("noise", {"dataset": dataset, **noise.row()})


def run() -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mnist-784", "mixture-500k"), "search.jsonl")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["hnswlib", "whimbrel"],
        metavar="ENGINE",
        help="name[:key=value,...] of " + ", ".join(engines.ENGINES),
    )
    parser.add_argument("--baseline", default="hnswlib", help="what ratios are to (default: %(default)s)")
    parser.add_argument("--M", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=harness.n_cores(), help="of builds and of batches")
    parser.add_argument("--builds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5, help="timed passes")
    parser.add_argument("--timed", type=int, default=1_000, help="queries per timed pass; recall uses all")
    args = parser.parse_args()
    if args.quick:
        args.n, args.builds, args.repetitions, args.timed = args.n or 10_000, 1, 2, 300
    for specification in args.engines:
        try:
            engines.parse(specification)
        except ValueError as error:
            parser.error(str(error))
    out = results.ResultFile(args.out)
    datasets = harness.chosen_datasets(args)
    if args.command == "run":
        for dataset in datasets:
            measure(args, dataset, out)
    sys.stdout.write(results.report(out, datasets, lambda rows: tables(rows, args.baseline)) + "\n")


if __name__ == "__main__":
    harness.main(run)
