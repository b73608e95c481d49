"""The tables of a report of bench_search.py: speeds, builds, latencies and counts, all points."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench import results
from bench.harness import RECALL_LEVELS
from bench.macro.search_results import MODES, Measured, ratios
from bench.report import Table


def speed_table(engines: Sequence[Measured], base: Measured, mode: str) -> Table:
    header = ["engine", *(f"{what} at {level:.2f}" for level in RECALL_LEVELS for what in ("QPS", "ratio"))]
    body: list[list[object]] = []
    for measured in engines:
        cells: list[object] = [measured.engine]
        for level in RECALL_LEVELS:
            values, bound = measured.at(mode, level)
            theirs, their_bound = base.at(mode, level)
            sign = ">= " if bound else ""
            cells.append(_signed(sign, results.with_range(list(values.values()))))
            ratio = None if their_bound else results.with_range(ratios(values, theirs), 2, "x")
            cells.append(_signed(sign, ratio))
        body.append(_or_reason(cells, measured, bool(measured.passes)))
    return Table(f"Queries per second at equal recall, {MODES[mode]}", header, body)


def build_table(engines: Sequence[Measured], base: Measured) -> Table:
    header = ["engine", "version", "build s", "times faster", "peak MiB", "resident MiB", "files MiB"]
    header += ["mean out-degree", "unreachable"]
    body = []
    for measured in engines:
        facts = measured.facts or {}
        seconds = measured.build_seconds()
        cells: list[object] = [
            measured.engine,
            facts.get("version"),
            results.with_range(list(seconds.values()), 1),
            results.with_range(ratios(base.build_seconds(), seconds), 2, "x"),
            *(_mebibytes(facts.get(name)) for name in ("peak_bytes", "resident_bytes", "disk_bytes")),
            results.number(facts.get("mean_degree"), 1),
            facts.get("unreachable"),
        ]
        body.append(_or_reason(cells, measured, bool(facts)))
    title = (
        "Builds: seconds; memory beside the vectors that are given, while building and after; size on disk"
    )
    return Table(title, header, body)


def cost_table(engines: Sequence[Measured], k: int) -> Table:
    percentiles = ("p50_us", "p95_us", "p99_us")
    header = ["engine", *(f"{name[:3]} µs at 0.95" for name in percentiles)]
    header += [*(f"distances at {level:.2f}" for level in RECALL_LEVELS), "top recall"]
    body = []
    for measured in engines:
        cells: list[object] = [measured.engine]
        for name in percentiles:
            values, bound = measured.at(name, 0.95)
            cells.append(_signed("<= " if bound else "", results.with_range(list(values.values()))))
        cells += [results.number(measured.counted("distances", level)) for level in RECALL_LEVELS]
        cells.append(results.number(measured.top_recall(), 4))
        body.append(_or_reason(cells, measured, bool(measured.sweeps)))
    title = f"Latency of single queries, distance computations per query, highest recall@{k} of the sweep"
    return Table(title, header, body)


def points_table(engines: Sequence[Measured], k: int) -> Table:
    header = ["engine", "parameter", f"recall@{k}", "single QPS", "batch QPS", "all threads QPS"]
    header += ["p50 µs", "p95 µs", "p99 µs", "distances"]
    names = ("single", "batch", "batch_threads", "p50_us", "p95_us", "p99_us")
    body: list[list[object]] = []
    for measured in engines:
        for sweep in measured.sweeps:
            for point in sweep["points"]:
                timed = [
                    there
                    for row in measured.passes
                    if row["seed"] == sweep["seed"]
                    for there in row["points"]
                    if there["value"] == point["value"]
                ]
                if timed:
                    cells = [statistics.median(there[name] for there in timed) for name in names]
                    recall = f"{point['recall']:.4f}"
                    setting = f"{sweep['parameter']} {point['value']}"
                    figures = [results.number(cell) for cell in cells]
                    body.append(
                        [measured.engine, setting, recall, *figures, results.number(point["distances"])]
                    )
    return Table("The sweep: every point that was timed, medians", header, body, folded=True)


def _or_reason(cells: list[object], measured: Measured, known: bool) -> list[object]:
    """A row of hyphens says why."""
    if not known and measured.failure:
        return [f"{measured.engine} ({measured.failure})", *cells[1:]]
    return cells


def _signed(sign: str, cell: str | None) -> str | None:
    return None if cell is None else sign + cell


def _mebibytes(size: float | None) -> str | None:
    return None if size is None else f"{size / 2**20:,.0f}"
