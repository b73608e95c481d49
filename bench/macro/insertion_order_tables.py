"""Tables of bench_insertion_order.py: each order beside random, and how far the orders lie apart."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench import results
from bench.machine import Row

K = 10
SHOWN_EFS = (10, 32, 64)
ORDERS = ("random", "lid_descending", "lid_ascending", "mean_distance_descending", "category")

Runs = dict[str, list[Row]]  # order -> one row per seed


def mean(values: Sequence[float | None]) -> float | None:
    """Mean over the seeds; None if one is missing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def recall_at(row: Row, ef: int) -> float:
    """Recall at one ef of the sweep."""
    return next(float(point["recall"]) for point in row["points"] if point["ef"] == ef)


def distances_at(row: Row, ef: int) -> float | None:
    """Distance computations at one ef of the sweep."""
    distances: float | None = next(point["distances"] for point in row["points"] if point["ef"] == ef)
    return distances


def recall_at_cost(row: Row, cost: float | None) -> float | None:
    """Recall at a number of distance computations."""
    if cost is None:
        return None
    return results.at_cost([(point["recall"], point["distances"]) for point in row["points"]], cost)


def distances_for(row: Row, recall: float) -> float | None:
    """Distance computations for a recall; None if the sweep does not reach it or they are not known."""
    points = [(point["recall"], point["distances"]) for point in row["points"]]
    return None if points[0][1] is None else results.at_recall(points, recall)


def costs(runs: Runs) -> list[float | None]:
    """Numbers of distance computations to compare at.

    The first is the least that all orders can be measured at, the largest count at ef = 10; then what the
    random order spends at the other shown values of ef.
    """
    first = [distances_at(row, SHOWN_EFS[0]) for rows in runs.values() for row in rows]
    least = None if None in first else max(value for value in first if value is not None)
    rest = [mean([distances_at(row, ef) for row in runs.get("random", [])]) for ef in SHOWN_EFS[1:]]
    return [least, *rest]


def cell_text(values: Sequence[float | None], reference: Sequence[float | None]) -> str | None:
    """Mean over the seeds, half their range, and the difference to the reference in points."""
    here, there = mean(values), mean(reference)
    if here is None:
        return None
    known = [value for value in values if value is not None]
    text = f"{here:.3f} ±{(max(known) - min(known)) / 2:.3f}"
    return text if there is None or values == reference else f"{text} ({100 * (here - there):+.1f})"


def order_table(runs: Runs) -> str:
    """Recall of each order at fixed ef and at equal cost."""
    levels, random = costs(runs), runs.get("random", [])
    header = ["order", "seeds", *(f"ef {ef}" for ef in SHOWN_EFS)]
    header += [f"at {results.number(level)} distances" for level in levels if level is not None]
    header += ["distances at ef 64", "out-degree", "unreachable", "build s"]
    body = []
    for order, rows in runs.items():
        line: list[Any] = [order, len(rows)]
        line += [
            cell_text([recall_at(r, ef) for r in rows], [recall_at(r, ef) for r in random])
            for ef in SHOWN_EFS
        ]
        line += [
            cell_text([recall_at_cost(r, level) for r in rows], [recall_at_cost(r, level) for r in random])
            for level in levels
            if level is not None
        ]
        line += [
            results.number(mean([distances_at(r, 64) for r in rows])),
            results.number(mean([r.get("mean_degree") for r in rows]), 1),
            results.number(mean([r.get("unreachable") for r in rows]), 1),
            results.number(mean([r["build_seconds"] for r in rows]), 1),
        ]
        body.append(line)
    return results.table(header, body)


def gap(values: Sequence[float | None]) -> str | None:
    """Points of recall between the best and the worst order; None if one is not known."""
    known = [value for value in values if value is not None]
    return f"{100 * (max(known) - min(known)):.1f}" if known and len(known) == len(values) else None


SUMMARY_NOTE = (
    f"Gaps are points of recall@{K} between the best and the worst order, each the mean of its seeds; "
    "out-degree and build seconds are those of the random order."
)


def summary_table(variants: dict[str, Runs]) -> str:
    """How far the orders lie apart: does keeping pruned candidates flatten the effect, at what cost?"""
    header = [
        "variant",
        *(f"gap at ef {ef}" for ef in SHOWN_EFS),
        "gap at equal distances",
        "distances for recall .95: random",
        "best order",
        "worst order",
        "out-degree",
        "build s",
    ]
    body = []
    for variant, runs in variants.items():
        line: list[Any] = [variant]
        line += [gap([mean([recall_at(r, ef) for r in rows]) for rows in runs.values()]) for ef in SHOWN_EFS]
        # The least of the counts that every order's sweep covers and that is not below random's at ef 32.
        level = max((value for value in costs(runs)[:2] if value is not None), default=None)
        line.append(gap([mean([recall_at_cost(r, level) for r in rows]) for rows in runs.values()]))
        spent = {order: mean([distances_for(r, 0.95) for r in rows]) for order, rows in runs.items()}
        known = [value for value in spent.values() if value is not None]
        all_known = len(known) == len(spent)
        line += [
            results.number(spent.get("random")),
            results.number(min(known, default=None)),
            results.number(max(known)) if known and all_known else None,
        ]
        random = runs.get("random", [])
        line += [
            results.number(mean([r.get("mean_degree") for r in random]), 1),
            results.number(mean([r["build_seconds"] for r in random]), 1),
        ]
        body.append(line)
    return results.table(header, body)


def tables(rows: Sequence[Row]) -> str:
    """All tables of one data set."""
    grid: dict[int, dict[str, Runs]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        grid[row["M"]][row["variant"]][row["order"]].append(row)
    parts = []
    for M in sorted(grid, reverse=True):
        variants = {
            variant: {order: grid[M][variant][order] for order in ORDERS if order in grid[M][variant]}
            for variant in sorted(grid[M])
        }
        parts += [f"#### M = {M}: how far the orders lie apart", SUMMARY_NOTE, summary_table(variants)]
        parts += [f"#### M = {M}, {variant}\n\n{order_table(runs)}" for variant, runs in variants.items()]
    return "\n\n".join(parts)


def report(out: results.ResultFile, datasets: Sequence[str]) -> str:
    """Tables of each data set; of each size of it, if the file has several."""
    rows = out.rows()
    parts = [results.describe_machines(rows)]
    for dataset in datasets:
        sizes: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in rows:
            if row["kind"] == "order" and row["dataset"] == dataset:
                sizes[row["checksum"], row["ef_construction"]].append(row)
        for (checksum, ef_construction), mine in sizes.items():
            lid = [row for row in rows if row["kind"] == "lid" and row["checksum"] == checksum]
            parts.append(
                f"### {dataset}, {mine[0]['n']:,} x {mine[0]['dim']}, ef_construction={ef_construction}"
                + (f", LID quantiles 5/50/95 %: {lid[-1]['quantiles_5_50_95']}" if lid else "")
            )
            parts.append(tables(mine))
    return "\n\n".join(parts)
