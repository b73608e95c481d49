"""Table of bench_filter.py: speed of each contestant at one recall, beside hnswlib without a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import results
from bench.machine import Row

K, LEVEL = 10, 0.95
#: hnswlib without a filter, whose queries are answered from all rows; and with its filter.
NO_FILTER, OWN_FILTER = "hnswlib", "hnswlib, filtered"


def speeds(row: Row) -> tuple[list[float], str]:
    """Queries per second at the level in each repetition, and `>=` where the narrowest beam has more recall.

    Nothing if the sweep does not reach the level.
    """
    recalls = {str(point["ef"]): point["recall"] for point in row["points"]}
    timed = [(recalls[ef], values) for ef, values in row["rates"].items()]
    if len(timed) == 0 or max(recall for recall, _ in timed) < LEVEL:
        return [], ""
    if len(timed) == 1 or min(recall for recall, _ in timed) >= LEVEL:
        return min(timed)[1], ">= "
    by_repetition = zip(*(values for _, values in timed), strict=True)
    known = [recall for recall, _ in timed]
    found = [results.at_recall(list(zip(known, values, strict=True)), LEVEL) for values in by_repetition]
    return [value for value in found if value is not None], ""


def missing(row: Row) -> str:
    """Results that exist and were not returned, over the whole sweep, or for how many ef the call failed."""
    refused = sum(point["missing"] is None for point in row["points"])
    lost = sum(point["missing"] or 0 for point in row["points"])
    return f"error at {refused} ef" if refused else f"{lost:,}"


def line(row: Row, plain: list[float]) -> list[Any]:
    """One contestant."""
    found, sign = speeds(row)
    last = row["points"][-1]
    reached = next((p["ef"] for p in row["points"] if (p["recall"] or 0) >= LEVEL), None)
    share = [a / b for a, b in zip(found, plain, strict=True)] if found and plain else []
    return [
        row["engine"],
        reached,
        None if reached is not None or last["recall"] is None else f"{last['recall']:.3f}",
        f"{sign}{results.with_range(found)}" if found else None,
        f"{sign}{results.with_range(share, 2, 'x')}" if share else None,
        missing(row),
    ]


def dataset_table(rows: Sequence[Row]) -> str:
    """All filters of one set."""
    header = ["filter", "passes", f"QPS of {NO_FILTER} without filter", "engine", f"ef for {LEVEL}"]
    header += ["else highest recall", f"QPS at {LEVEL}", "share", "missing results"]
    body: list[list[Any]] = []
    for name in dict.fromkeys(row["filter"] for row in rows):
        mine = {row["engine"]: row for row in rows if row["filter"] == name}  # the last of each
        plain, sign = speeds(mine.pop(NO_FILTER))
        for row in mine.values():
            facts = [name, f"{100 * row['share']:.1f} %", f"{sign}{results.with_range(plain)}"]
            body.append([*facts, *line(row, plain)])
    return results.table(header, body)


def report(out: results.ResultFile, datasets: Sequence[str]) -> str:
    """All that the file has of these sets, of the last build of the module."""
    rows = out.rows()
    parts = [results.describe_machines(rows)]
    for dataset in datasets:
        mine = [row for row in rows if row["kind"] == "filter" and row["dataset"] == dataset]
        mine = [row for row in mine if row["core"] == mine[-1]["core"] and row["n"] == mine[-1]["n"]]
        if not mine:
            continue
        first = mine[0]
        facts = f"{first['n']:,} x {first['dim']}, {first['queries']:,} queries, {first['metric']}"
        parts += [f"### {dataset}", f"{facts}, M {first['M']}, ef_construction {first['ef_construction']}"]
        parts.append(dataset_table(mine))
    return "\n\n".join(parts)
