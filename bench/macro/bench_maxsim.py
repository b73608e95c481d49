"""Exact MaxSim of all queries with all documents, beside peers and a bare matrix product.

GFLOP/s count 2 d for each pair of a query token and a document token. Who takes part is told in
maxsim_peers.py.

  python -m bench.macro.bench_maxsim --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench import harness, results, token_sets
from bench.machine import Row
from bench.macro import token_bench
from bench.macro.maxsim_peers import ENTRIES, K
from bench.macro.race import by_threads, race, rates, ratios


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Time all on one set."""
    facts = token_sets.load(dataset, args.data, args.n, args.queries).facts()
    arguments = (dataset, args.data, args.n, args.queries)
    for threads in args.threads:
        race(out, "maxsim", facts, ENTRIES, arguments, threads, args.repetitions)


def tables(rows: Sequence[Row]) -> str:
    """One table per number of threads."""
    parts = []
    header = ["by", "pairs/s", "GFLOP/s", "whimbrel is faster by", "largest error", f"recall@{K}"]
    for threads, here in by_threads(rows, "maxsim").items():
        own = here.get("whimbrel")
        body = []
        for name, row in here.items():
            per_pair = (
                2 * row["dim"] * row["query_tokens"] * row["tokens"] / row["queries"] / row["documents"]
            )
            body.append(
                [
                    name,
                    results.with_range(rates(row)),
                    results.with_range([per_pair * rate / 1e9 for rate in rates(row)]),
                    None if own is None else ratios(own, row),
                    None if row["error"] is None else f"{row['error']:.1e}",
                    results.number(row["recall"], 4),
                ]
            )
        size = next(iter(here.values()))
        title = (
            f"{size['queries']:,} queries of {size['query_tokens']:,} tokens, {size['documents']:,} documents"
        )
        title += f" of {size['tokens']:,} tokens, d {size['dim']}, threads: {threads}"
        parts.append(f"{title}\n\n{results.table(header, body)}")
    return "\n\n".join(parts)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    token_bench.run(__doc__, "maxsim.jsonl", measure, tables, argv)


if __name__ == "__main__":
    harness.main(run)
