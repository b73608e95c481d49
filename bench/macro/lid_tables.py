"""Tables of bench_lid.py: orders with and without refine, and what each use of LID gives."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench import results
from bench.machine import Row

K = 10
SHOWN_EFS = (10, 16, 32, 64, 128)
LEVELS = (0.90, 0.95, 0.99)
ORDERS = ("random", "lid_descending", "lid_ascending", "category")
#: What follows the rank of the LID, and whether it rises with it.
ABLATIONS = tuple(
    (name, rising) for name in ("level", "links", "ef_construction", "query ef") for rising in (True, False)
)


def recall_at(rows: Sequence[Row], ef: int) -> float:
    """Mean over the seeds."""
    return statistics.fmean(p["recall"] for row in rows for p in row["points"] if p["ef"] == ef)


def distances_for(rows: Sequence[Row], recall: float) -> list[float | None]:
    """Distance computations of each seed for a recall; None where a sweep does not reach it."""
    curves = [[(p["recall"], p["distances"]) for p in row["points"]] for row in rows]
    return [None if curve[0][1] is None else results.at_recall(curve, recall) for curve in curves]


def spent(rows: Sequence[Row], recall: float) -> str | None:
    """Mean distances for a recall, and half the range over the seeds."""
    known = [value for value in distances_for(rows, recall) if value is not None]
    if not known or len(known) < len(rows):
        return None
    return f"{statistics.fmean(known):,.0f} ±{(max(known) - min(known)) / 2:,.0f}"


def degree(rows: Sequence[Row]) -> str | None:
    return results.number(statistics.fmean(row["mean_degree"] for row in rows), 1)


def order_table(grid: dict[str, dict[str, list[Row]]]) -> str:
    """Each order of each variant, and the gap between the best and the worst at each ef."""
    header = ["variant", "order", *(f"ef {ef}" for ef in SHOWN_EFS), "distances for .95", "out-degree"]
    header += ["unreachable", "MB"]
    body: list[list[Any]] = []
    for variant in ("hnswlib", "built", "refined"):
        orders = grid[variant]
        for order, rows in orders.items():
            memory = rows[0].get("memory_bytes")
            body.append(
                [
                    variant,
                    order,
                    *(f"{100 * recall_at(rows, ef):.1f}" for ef in SHOWN_EFS),
                    spent(rows, 0.95),
                    degree(rows),
                    results.number(statistics.fmean(row["unreachable"] for row in rows), 1),
                    None if memory is None else f"{memory / 1e6:.2f}",
                ]
            )
        gaps = []
        for ef in SHOWN_EFS:
            values = [recall_at(rows, ef) for rows in orders.values()]
            gaps.append(f"**{100 * (max(values) - min(values)):.1f}**")
        body.append([variant, "**best - worst**", *gaps, *[None] * 4])
    return results.table(header, body)


def ablation_table(random: list[Row], variants: dict[str, list[Row]]) -> str:
    """Each use of LID beside the same build without it."""
    header = ["by LID", *(f"ef {ef}" for ef in SHOWN_EFS)]
    header += [f"distances for {level:.2f}" for level in LEVELS]
    body = []
    for name, rows in {"none": random, **variants}.items():
        line: list[Any] = [name]
        for ef in SHOWN_EFS:
            here, base = recall_at(rows, ef), recall_at(random, ef)
            line.append(f"{100 * here:.1f}" + ("" if rows is random else f" ({100 * (here - base):+.1f})"))
        body.append(line + [spent(rows, level) for level in LEVELS])
    return results.table(header, body)


def report(rows: list[Row]) -> str:
    """Both tables of one data set."""
    mine = [row for row in rows if row["kind"] == "lid"]
    if not mine:
        return ""
    grid: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    variants: dict[str, list[Row]] = defaultdict(list)
    for row in mine:
        if row["question"] == "order":
            grid[row["variant"]][row["order"]].append(row)
        else:
            variants[row["variant"]].append(row)
    seeds = len(grid["built"]["random"])
    first = mine[0]
    facts = f"M {first['M']}, ef_construction {first['ef_construction']}, {seeds} seeds, recall@{K} in %"
    return "\n\n".join(
        [
            f"{first['n']:,} x {first['dim']}, {facts}",
            order_table(grid),
            "In brackets: points beside the build without LID.",
            ablation_table(grid["built"]["random"], variants),
        ]
    )
