"""Table of bench_scale.py: each size, and below it the exponents of n."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench import results
from bench.machine import Row

LEVELS = (0.95, 0.99)
HEADER = ["engine", "vectors", "build s", "index MB", "bytes each", "process grew by MB"]
HEADER += [f"{what} at {level}" for level in LEVELS for what in ("distances", "QPS")]


def exponent(sizes: Sequence[int], values: Sequence[float | None]) -> str | None:
    """Slope of the least squares line through the logarithms; None below two sizes."""
    known = [(n, value) for n, value in zip(sizes, values, strict=True) if value]
    if len({n for n, _ in known}) < 2:
        return None
    return f"{np.polyfit(*np.log(np.array(known, float)).T, 1)[0]:.2f}"


class Measured:
    """What the file has of one engine on one size: the last build, sweep and passes."""

    def __init__(self, rows: Sequence[Row]) -> None:
        kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
        self.build = kinds["scale-build"][-1]
        self.n = int(self.build["n"])
        self.points = kinds["scale-sweep"][-1]["points"] if "scale-sweep" in kinds else []
        self.passes = kinds.get("scale-pass", [])

    def distances(self, level: float) -> float | None:
        if any(point["distances"] is None for point in self.points):
            return None
        return results.at_recall([(p["recall"], p["distances"]) for p in self.points], level)

    def rates(self, level: float) -> list[float | None]:
        curves = [[(p["recall"], p["batch"]) for p in row["points"]] for row in self.passes]
        return [results.at_recall(curve, level) for curve in curves]

    def rate(self, level: float) -> float | None:
        known = [value for value in self.rates(level) if value is not None]
        return statistics.median(known) if known else None

    def line(self) -> list[Any]:
        said, grown = self.build["index_bytes"], self.build["resident_bytes"]
        return [
            self.build["engine"],
            f"{self.n:,}",
            f"{self.build['seconds']:,.1f}",
            None if said is None else f"{said / 1e6:,.1f}",
            None if said is None else f"{said / self.n:,.0f}",
            None if grown is None else f"{grown / 1e6:,.1f}",
            *(
                cell
                for level in LEVELS
                for cell in (
                    results.number(self.distances(level)),
                    results.with_range(self.rates(level)) if self.passes else None,
                )
            ),
        ]


def growth(measured: Sequence[Measured]) -> list[Any]:
    """Exponents of n; of QPS those of the time of a query."""
    sizes = [one.n for one in measured]
    per_level: list[Any] = []
    for level in LEVELS:
        per_level.append(exponent(sizes, [one.distances(level) for one in measured]))
        rates = [one.rate(level) for one in measured]
        per_level.append(exponent(sizes, [None if rate is None else 1 / rate for rate in rates]))
    return [
        measured[0].build["engine"],
        "**exponent of n**",
        exponent(sizes, [one.build["seconds"] for one in measured]),
        exponent(sizes, [one.build["index_bytes"] for one in measured]),
        None,
        exponent(sizes, [one.build["resident_bytes"] for one in measured]),
        *per_level,
    ]


def report(out: results.ResultFile, datasets: Sequence[str]) -> str:
    """All sizes that were asked for in one table, of the last build of the module."""
    rows = out.rows()
    mine = [row for row in rows if row["kind"].startswith("scale-") and row["dataset"] in datasets]
    if not mine:
        return results.describe_machines(rows)
    mine = [row for row in mine if row["core"] == mine[-1]["core"]]
    body: list[list[Any]] = []
    for engine in dict.fromkeys(row["engine"] for row in mine):
        of_engine = [row for row in mine if row["engine"] == engine]
        sizes = [[row for row in of_engine if row["dataset"] == name] for name in datasets]
        measured = [Measured(each) for each in sizes if any(row["kind"] == "scale-build" for row in each)]
        body += [one.line() for one in measured]
        if len(measured) > 1:
            body.append(growth(measured))
    first = mine[0]
    facts = f"{first['dim']} dimensions, {first['queries']:,} queries, M {first['M']}, "
    facts += f"ef_construction {first['ef_construction']}; build on {first['threads']} threads, search on one"
    return "\n\n".join([results.describe_machines(rows), facts, results.table(HEADER, body)])
