"""How do build time, memory and search cost grow with the number of vectors?

Sets of one distribution and three sizes, each built and searched as by `whimbrel bench`: a process for the
build, which saves the index in the cache, and for each repetition a new process that loads it. Where a curve
is straight in the logarithms of both, its slope is the exponent of n: 1 is linear, 0 does not grow at all.

Every step is a row of its own, and a step whose row is there is skipped: an interrupted run goes on. With
`--repetitions 0` nothing is timed but builds: recall, distances and memory only.

  python -m bench.macro.bench_scale
  python -m bench.macro.bench_scale table
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import data, harness, machine, neighbors, results, stored_data
from bench.machine import Row
from bench.macro.scale_tables import LEVELS, report
from bench.macro.search_worker import BuildBench, SearchBench
from bench.worker import Worker

K = 10
SIZES = ("mixture-100k", "mixture-500k", "mixture-2m")
LEAST_SECONDS = 0.4
TIMED = 500


def points_to_time(points: Sequence[Row]) -> list[Row]:
    """Those of a sweep that lie around the levels of recall."""
    chosen: dict[float, Row] = {}
    for level in LEVELS:
        above = next((i for i, point in enumerate(points) if point["recall"] >= level), len(points))
        chosen |= {point["value"]: point for point in points[max(0, above - 1) : above + 1]}
    return [chosen[value] for value in sorted(chosen)]


def measure(args: argparse.Namespace, name: str, out: results.ResultFile) -> None:
    """Build, sweep and time each engine on one set, but for what the file has."""
    rows = data.load(name, args.data, args.n, args.queries)
    stored = stored_data.store(rows, args.cache)
    truth = neighbors.ground_truth(rows, args.cache, K)
    settings = {"M": args.M, "ef_construction": args.ef_construction, "seed": 1}
    common = {**rows.facts(), "checksum": rows.checksum()[:16], **settings, "threads": args.threads}
    common |= {"core": machine.build_of_core()}
    del rows

    for engine in args.engines:
        identity = {**common, "engine": engine}
        key = "-".join(map(str, (stored.name, engine, *settings.values(), common["core"])))
        folder = args.cache / key.replace(":", "-").replace(",", "-")
        passes = [{**identity, "repetition": repetition} for repetition in range(args.repetitions)]
        passes = [row for row in passes if not out.find("scale-pass", row)]
        sweeps = out.find("scale-sweep", identity)
        if not out.find("scale-build", identity) or ((passes or not sweeps) and not folder.is_dir()):
            half = Path(tempfile.mkdtemp(dir=args.cache))
            with Worker(engine, BuildBench) as worker:
                row = worker.call("run", engine, settings, stored, half, args.threads)
            shutil.rmtree(folder, ignore_errors=True)
            half.rename(folder)
            out.write("scale-build", {**identity, **row})
            harness.log(f"{name}, {engine}: built")
        if not sweeps:
            with Worker(engine, SearchBench, engine, settings, stored, truth, folder) as worker:
                sweeps = [worker.call("sweep", args.threads)]
            out.write("scale-sweep", {**identity, **sweeps[0]})
            harness.log(f"{name}, {engine}: swept")
        timed = points_to_time(sweeps[-1]["points"])
        for row in passes:
            with Worker(engine, SearchBench, engine, settings, stored, truth, folder) as worker:
                points = worker.call("speeds", timed, TIMED, 1, LEAST_SECONDS)
            out.write("scale-pass", {**row, "points": points})
            harness.log(f"{name}, {engine}: pass {row['repetition']} done")


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, SIZES, "scale.jsonl")
    parser.add_argument("--M", type=harness.positive, default=16)
    parser.add_argument("--ef-construction", type=harness.positive, default=200)
    parser.add_argument("--engines", nargs="+", default=["whimbrel", "whimbrel:codec=auto"], metavar="ENGINE")
    parser.add_argument("--threads", type=harness.positive, default=machine.n_cores(), help="of a build")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args(argv)
    if args.quick:
        args.queries, args.repetitions = min(args.queries, 100), min(args.repetitions, 1)
        args.datasets = args.datasets or list(SIZES[:2])
        args.n = args.n or 20_000
    harness.measure_and_print(args, harness.chosen_datasets(args), measure, report)


if __name__ == "__main__":
    harness.main(run)
