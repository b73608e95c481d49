"""Documents a second of fixed dimensional encodings (MUVERA), beside peers and the rate of a matrix product.

Operations of a document of t tokens: 2 t d r_reps k_sim of the signs, t d r_reps additions of the count
sketch, t d_proj r_reps of the sums. Who takes part is told in fde_peers.py; each is timed on as many
documents as it can do in reasonable time.

  python -m bench.macro.bench_fde --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench import harness, results, token_sets
from bench.machine import Row
from bench.macro import matrix_product, token_bench
from bench.macro.fde_peers import CANDIDATES, ENTRIES, K
from bench.macro.race import by_threads, race, rates, ratios

NAMES = ("k_sim", "r_reps", "d_proj")
SETTINGS = ((5, 20, 16), (4, 20, 8))


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Time all on one set, with each setting."""
    facts = token_sets.load(dataset, args.data, args.n, args.queries).facts()
    for setting in SETTINGS:
        for threads in args.threads:
            arguments = (dataset, args.data, args.n, args.queries, setting)
            common = {**facts, **dict(zip(NAMES, setting, strict=True))}
            race(out, "fde", common, ENTRIES, arguments, threads, args.repetitions)


def tables(rows: Sequence[Row]) -> str:
    """One table per setting and number of threads."""
    parts = []
    header = ["by", "documents/s", "whimbrel is faster by", "share of sgemm", f"recall@{K} in {CANDIDATES}"]
    for setting in SETTINGS:
        mine = [row for row in rows if tuple(map(row.get, NAMES)) == setting]
        for threads, here in by_threads(mine, "fde").items():
            product = here.pop(matrix_product.NAME, None)
            own = here.get("whimbrel")
            body = [
                [
                    name,
                    results.with_range(rates(row)),
                    None if own is None else ratios(own, row),
                    matrix_product.share(row, _operations(row, setting), product),
                    results.number(row["recall"], 3),
                ]
                for name, row in here.items()
            ]
            size = next(iter(here.values()))
            title = f"{size['documents']:,} documents, {size['tokens']:,} tokens, "
            title += ", ".join(f"{name} {value}" for name, value in zip(NAMES, setting, strict=True))
            title += f", threads: {threads}{matrix_product.speed(product)}"
            parts.append(f"{title}\n\n{results.table(header, body)}")
    return "\n\n".join(parts)


def _operations(row: Row, setting: tuple[int, int, int]) -> float:
    """Of a document: signs and sums of each repetition, per token."""
    k_sim, r_reps, d_proj = setting
    per_token = r_reps * (2 * row["dim"] * k_sim + row["dim"] + d_proj)
    operations: float = per_token * row["tokens"] / row["documents"]
    return operations


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    token_bench.run(__doc__, "fde.jsonl", measure, tables, argv)


if __name__ == "__main__":
    harness.main(run)
