"""Exact top-10 of a batch of queries: whimbrel's knn, faiss `IndexFlat`, NumPy's sgemm on the same shapes.

GFLOP/s count 2 q n d, the work of the inner products alone, so they can be held against a matrix product. Who
takes part is told in exact_peers.py.

  python -m bench.macro.bench_exact --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from bench import data, harness, neighbors, results
from bench.machine import Row
from bench.macro.exact_peers import K, entries
from bench.macro.race import add_flags, by_threads, race, rates, ratios


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Time all on one data set."""
    rows = data.load(dataset, args.data, args.n, args.queries)
    neighbors.ground_truth(rows, args.cache, K)
    arguments = (dataset, args.data, args.n, args.queries, args.cache)
    for threads in args.threads:
        race(out, "exact", {**rows.facts(), "k": K}, entries(), arguments, threads, args.repetitions)


def tables(rows: Sequence[Row]) -> str:
    """One table per number of threads."""
    parts = []
    for threads, here in by_threads(rows, "exact").items():
        own = here.get("whimbrel")
        body = []
        for name, row in here.items():
            flops = 2 * row["n"] * row["dim"]
            body.append(
                [
                    name,
                    results.with_range(rates(row)),
                    results.with_range([flops * rate / 1e9 for rate in rates(row)]),
                    None if own is None else ratios(own, row),
                    results.number(row["recall"], 4),
                    row["kernels"],
                ]
            )
        size = next(iter(here.values()))
        shape = f"{size['queries']:,} queries, {size['n']:,} x {size['dim']}, {size['metric']}"
        title = f"{shape}, threads: {threads}"
        header = ["by", "QPS", "GFLOP/s", "whimbrel is faster by", f"recall@{K}", "kernels"]
        parts.append(f"{title}\n\n" + results.table(header, body))
    return "\n\n".join(parts)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mnist-784", "mixlid"), "exact.jsonl")
    add_flags(parser)
    args = parser.parse_args(argv)
    if args.quick:
        args.n, args.queries, args.repetitions = args.n or 10_000, min(args.queries, 500), 3
    harness.measure_and_print(
        args, harness.chosen_datasets(args), measure, partial(results.report, tables=tables)
    )


if __name__ == "__main__":
    harness.main(run)
