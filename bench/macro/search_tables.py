"""Tables of bench_search.py: builds, speed at equal recall, and the sweep, for one data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import results
from bench.harness import RECALL_LEVELS, Row

K = 10
MODES = {
    "single": "one query per call, 1 thread",
    "batch": "batch, 1 thread",
    "batch_threads": "batch, all threads",
}


def speeds_at(rows: Sequence[Row], mode: str, level: float) -> list[float | None]:
    """Interpolated queries per second at a recall level, one value per repetition."""
    timed = [row for row in rows if mode in row]
    repetitions = min((len(row[mode]) for row in timed), default=0)
    return [
        results.at_recall([(row["recall"], row[mode][r]) for row in timed], level) for r in range(repetitions)
    ]


def speeds_above(rows: Sequence[Row], mode: str, level: float) -> list[float | None]:
    """Queries per second at the smallest ef, if its recall is already above the level: a lower bound."""
    first = min((row for row in rows if mode in row), key=lambda row: int(row["ef"]), default=None)
    return [] if first is None or first["recall"] <= level else list(first[mode])


def speed_cells(rows: Sequence[Row], others: Sequence[Row], mode: str, level: float) -> list[str | None]:
    """Speed at a recall level, and its ratio to another's; ">=" marks a lower bound."""
    values, bound = speeds_at(rows, mode, level), speeds_above(rows, mode, level)
    sign = ">= " if bound else ""
    cells = [
        results.with_range(bound or values),
        results.with_range(ratios(bound or values, speeds_at(others, mode, level)), 2, "x"),
    ]
    return [None if cell is None else sign + cell for cell in cells]


def ratios(values: Sequence[float | None], baseline: Sequence[float | None]) -> list[float | None]:
    """Ratio within each repetition."""
    return [a / b if a is not None and b else None for a, b in zip(values, baseline, strict=False)]


def tables(rows: Sequence[Row], baseline: str) -> str:
    """Everything about one data set, in Markdown."""
    builds = {row["engine"]: row for row in rows if row["kind"] == "build"}
    searches: dict[str, list[Row]] = {name: [] for name in builds}
    for row in rows:
        if row["kind"] == "search":
            searches[row["engine"]].append(row)
    if baseline not in builds:
        baseline = next(iter(builds), "")
    parts = [_build_table(builds, baseline) + f"\n\nRatios are to {baseline}."]
    for mode, title in MODES.items():
        header = [
            "engine",
            *(f"{what} at {level:.2f}" for level in RECALL_LEVELS for what in ("QPS", "ratio")),
        ]
        body: list[list[Any]] = []
        for name in builds:
            cells: list[Any] = [name]
            for level in RECALL_LEVELS:
                cells += speed_cells(searches[name], searches[baseline], mode, level)
            body.append(cells)
        parts.append(f"Queries per second, {title}, at equal recall@{K}:\n\n" + results.table(header, body))
    parts.append(_sweep_table(searches))
    return "\n\n".join(parts)


def _build_table(builds: dict[str, Row], baseline: str) -> str:
    body = []
    for name, row in builds.items():
        faster = ratios(builds[baseline]["seconds"], row["seconds"])
        size = row["index_bytes"]
        body.append(
            [
                name,
                row["version"],
                row["M"],
                row["ef_construction"],
                results.with_range(row["seconds"], 2),
                results.with_range(faster, 2, "x"),
                None if size is None else f"{size / 2**20:,.1f}",
                results.number(row.get("mean_degree"), 1),
                row.get("unreachable"),
            ]
        )
    header = ["engine", "version", "M", "ef_construction", "build s", "times faster", "index MiB"]
    header += ["mean out-degree", "unreachable"]
    first = next(iter(builds.values()), None)
    if first is None:
        return "Nothing was built."
    title = f"{first['n']:,} x {first['dim']}, {first['metric']}; built with {first['threads']} threads:\n\n"
    return title + results.table(header, body)


def _sweep_table(searches: dict[str, list[Row]]) -> str:
    efs = sorted({row["ef"] for rows in searches.values() for row in rows})
    by_ef = {name: {row["ef"]: row for row in rows} for name, rows in searches.items()}
    counted = [name for name, rows in searches.items() if any(row["distances"] is not None for row in rows)]
    body = []
    for ef in efs:
        found = {name: rows.get(ef, {}) for name, rows in by_ef.items()}
        recalls = [f"{row['recall']:.4f}" if row else None for row in found.values()]
        body.append([ef, *recalls, *(results.number(found[name].get("distances")) for name in counted)])
    header = ["ef", *searches, *(f"distances of {name}" for name in counted)]
    return f"recall@{K} over ef, and distance computations per query:\n\n" + results.table(header, body)
