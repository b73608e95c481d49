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
from bench.macro import matrix_product, token_bench
from bench.macro.maxsim_peers import ENTRIES, USES, K, used
from bench.macro.race import by_threads, race, rates, ratios


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Time all on one set, in each use."""
    loaded = token_sets.load(dataset, args.data, args.n, args.queries)
    for use in USES:
        common = {**used(loaded, use).facts(), "use": use}
        for threads in args.threads:
            arguments = (dataset, args.data, args.n, args.queries, use)
            race(out, "maxsim", common, ENTRIES, arguments, threads, args.repetitions)


def tables(rows: Sequence[Row]) -> str:
    """One table per use and number of threads."""
    parts = []
    header = [
        "by",
        "pairs/s",
        "GFLOP/s",
        "whimbrel is faster by",
        "share of sgemm",
        "largest error",
        f"recall@{K}",
    ]
    for use in USES:
        mine = [row for row in rows if row.get("use") == use]
        for threads, here in by_threads(mine, "maxsim").items():
            product = here.pop(matrix_product.NAME, None)
            size = next(iter(here.values()))
            title = f"{use} ({size['query_tokens']:,} tokens) with {size['documents']:,} documents "
            title += f"({size['tokens']:,} tokens), d {size['dim']}, threads: {threads}"
            title += matrix_product.speed(product)
            body = [_line(name, row, here.get("whimbrel"), product) for name, row in here.items()]
            parts.append(f"{title}\n\n{results.table(header, body)}")
    return "\n\n".join(parts)


def _line(name: str, row: Row, own: Row | None, product: Row | None) -> list[object]:
    products = row["query_tokens"] * row["tokens"]
    per_pair = 2 * row["dim"] * products / row["queries"] / row["documents"]
    return [
        name,
        results.with_range(rates(row)),
        results.with_range([per_pair * rate / 1e9 for rate in rates(row)], 1),
        None if own is None else ratios(own, row),
        matrix_product.share(row, per_pair, product),
        f"{row['error']:.1e}",
        results.number(row["recall"], 4),
    ]


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    token_bench.run(__doc__, "maxsim.jsonl", measure, tables, argv)


if __name__ == "__main__":
    harness.main(run)
