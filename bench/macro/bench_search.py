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
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import engines, harness, machine, results
from bench.macro.search_report import write_report
from bench.macro.search_run import Run

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
QUICK_ENGINES = ("hnswlib", "whimbrel", "faiss-hnsw", "usearch", "svs:codes=lvq4x8", "vsag", "ngt", "numpy")
FILE = "search.jsonl"


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
    result.add_argument(
        "--baseline", metavar="ENGINE", help="what ratios are to (default: hnswlib, or the first)"
    )
    result.add_argument("--order-effect", type=Path, help="result file of bench_insertion_order, to be drawn")
    result.add_argument("--M", type=harness.positive, default=16)
    result.add_argument("--ef-construction", type=harness.positive, default=200)
    result.add_argument("--seeds", type=int, nargs="+", default=[1])
    result.add_argument(
        "--threads", type=harness.positive, default=machine.n_cores(), help="of builds and of batches"
    )
    result.add_argument("--builds", type=harness.positive, default=1, help="times that each index is built")
    result.add_argument("--repetitions", type=harness.positive, default=3, help="timed passes")
    result.add_argument(
        "--timed", type=harness.positive, default=1_000, help="queries per timed pass; recall uses all"
    )
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
    if args.command == "run" and args.baseline not in (None, *args.engines):
        flags.error(f"baseline: expected one of {', '.join(args.engines)}, got {args.baseline!r}")


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, write the report."""
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
