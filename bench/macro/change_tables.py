"""Table of bench_change.py: searches beside each kind of change, and how fast the change itself is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench import results
from bench.machine import Row

COLUMNS = ("p50_us", "p99_us", "p999_us", "max_us")


def change_table(rows: Sequence[Row]) -> str:
    """One line for each engine, number of searching threads and change."""
    cells: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row["engine"], row["searchers"], row["change"]].append(row)
    header = ["engine", "searching threads", "beside", "searches/s", "of quiet"]
    header += [f"{name.removesuffix('_us')} µs" for name in COLUMNS]
    header += ["rows changed/s"]
    body: list[list[Any]] = []
    for (engine, searchers, change), mine in cells.items():
        quiet = cells.get((engine, searchers, "quiet"), [])
        share = [a["qps"] / b["qps"] for a, b in zip(mine, quiet, strict=False)]
        pace = [row["changed"] / row["seconds"] for row in mine]
        body.append(
            [
                engine,
                searchers,
                change,
                results.with_range([row["qps"] for row in mine]),
                results.with_range(share, 2, "x") if share else None,
                *(results.with_range([row[name] for row in mine]) for name in COLUMNS),
                None if change == "quiet" else results.with_range(pace),
            ]
        )
    return results.table(header, body)


def report(out: results.ResultFile, datasets: Sequence[str]) -> str:
    """All that the file has of these sets, of the last build of the module."""
    rows = out.rows()
    parts = [results.describe_machines(rows)]
    for dataset in datasets:
        mine = [row for row in rows if row["kind"] == "change" and row["dataset"] == dataset]
        same = ("core", "n", "ef")
        mine = [row for row in mine if all(row[name] == mine[-1][name] for name in same)]
        if not mine:
            continue
        first = mine[0]
        facts = f"{first['n']:,} x {first['dim']}, {first['metric']}, M {first['M']}, ef {first['ef']}"
        parts += [f"### {dataset}", facts, change_table(mine)]
    return "\n\n".join(parts)
