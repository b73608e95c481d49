"""The report of bench_search.py: tables and pictures of each data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench import engines as engines_of
from bench import report, results
from bench.data import DataError
from bench.harness import RECALL_LEVELS, Row
from bench.macro.bench_search import ON_DEMAND
from bench.macro.search_results import (
    MODES,
    Measured,
    collect,
    compare_with_itself,
    datasets_of,
    last_plan,
    ratios,
)
from bench.report import Block, Heading, Picture, Table, Text

SELF_TOLERANCE = 0.05
HOW = (
    "A number is the median of the repetitions, with their extremes in brackets. Ratios are to {baseline}, "
    "taken within a repetition. Speeds at a recall level lie on a straight line in (recall, log speed) "
    "between the two measured points around it; nothing is extrapolated: '-' is a level that the sweep does "
    "not reach, '>=' the speed of the fastest setting where even that has more recall."
)


def write_report(
    out: results.ResultFile, folder: Path, baseline: str, order_effect: Path | None = None
) -> str:
    """Write report.md, report.html and pictures of a result file; return the Markdown."""
    try:
        from bench import charts
    except ImportError:
        charts = None  # type: ignore[assignment]
    rows = out.rows()
    names = datasets_of(rows)
    if not names:
        raise DataError(f"{out.path}: expected rows of a run, got none")
    blocks: list[Block] = [Heading(1, "Recall against speed")]
    blocks.append(Text(results.describe_machines(rows)))
    for name in names:
        plan = last_plan(rows, name)
        assert plan is not None
        measured = collect(rows, plan)
        blocks += dataset_blocks(plan, measured, baseline)
        if charts is not None:
            blocks += pictures(charts, name, measured)
        noise = [row for row in rows if row["kind"] == "noise" and row["dataset"] == name]
        if noise:
            wall = sum(row["wall_seconds"] for row in noise)
            steal = max(row["steal_percent"] for row in noise)
            blocks.append(Text(f"Took {wall:,.0f} s; stolen by the hypervisor: at most {steal:.1f} %."))
    if order_effect is not None and charts is not None:
        blocks += order_blocks(charts, order_effect)
    if charts is None:
        blocks.append(Text("No pictures: matplotlib is not installed (pip install 'whimbrel[bench]')."))
    return report.write(folder, "whimbrel: recall against speed", blocks)


def dataset_blocks(plan: Row, engines: Sequence[Measured], baseline: str) -> list[Block]:
    """Tables of one data set."""
    by_name = {measured.engine: measured for measured in engines}
    if baseline not in by_name:
        baseline = engines[0].engine
    base = by_name[baseline]
    seeds = ", ".join(map(str, plan["seeds"]))
    blocks: list[Block] = [
        Heading(2, plan["dataset"]),
        Text(
            f"{plan['n']:,} x {plan['dim']}, {plan['metric']}, {plan['queries']:,} queries; M {plan['M']}, "
            f"ef_construction {plan['ef_construction']}, {plan['threads']} threads, seed {seeds}. "
            + HOW.format(baseline=baseline)
        ),
        Text(self_check(engines)),
        _speed_table(engines, base, "single"),
        _build_table(engines, base),
        *(_speed_table(engines, base, mode) for mode in MODES if mode != "single"),
        _cost_table(engines, plan["k"]),
        _points_table(engines, plan["k"]),
    ]
    missing = [f"{measured.engine}: {measured.failure}" for measured in engines if measured.failure]
    left_out = [name for name in ON_DEMAND if name not in map(engines_of.plain_name, by_name)]
    if left_out:
        blocks.append(Text(f"Measured only when named with --engines: {', '.join(left_out)}."))
    if missing:
        blocks.append(Text("Not complete: " + "; ".join(missing) + "."))
    return blocks


def self_check(engines: Sequence[Measured]) -> str:
    """The A/A check in one sentence."""
    found = compare_with_itself(engines)
    if found is None:
        return "A/A check: no engine was measured twice, so nothing tells what the ratios are worth."
    middle = statistics.median(found.speeds)
    verdict = "passed" if abs(middle - 1) <= SELF_TOLERANCE else "NOT PASSED"
    builds = f", of build seconds {statistics.median(found.builds):.3f}" if found.builds else ""
    return (
        f"A/A check {verdict}: {found.engine} against itself has a median ratio of {middle:.3f} over all "
        f"modes and recall levels ({min(found.speeds):.3f}..{max(found.speeds):.3f}){builds}; "
        f"expected within {SELF_TOLERANCE:.0%} of 1."
    )


def _speed_table(engines: Sequence[Measured], base: Measured, mode: str) -> Table:
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


def _build_table(engines: Sequence[Measured], base: Measured) -> Table:
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


def _cost_table(engines: Sequence[Measured], k: int) -> Table:
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


def _points_table(engines: Sequence[Measured], k: int) -> Table:
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


def pictures(charts: object, dataset: str, engines: Sequence[Measured]) -> list[Block]:
    """Speed over recall, and what an index costs."""
    drawn = [measured for measured in engines if "#" not in measured.engine]
    return [
        Picture(
            f"pareto-{dataset}",
            f"{dataset}: queries per second over recall; up and to the right is better",
            charts.pareto(dataset, drawn),  # type: ignore[attr-defined]
        ),
        Picture(
            f"cost-{dataset}",
            f"{dataset}: build time and memory; shorter is better",
            charts.costs(dataset, drawn),  # type: ignore[attr-defined]
        ),
    ]


def order_blocks(charts: object, path: Path) -> list[Block]:
    """What the order of insertion does, from a result file of bench_insertion_order."""
    rows = results.ResultFile(path).rows("order")
    if not rows:
        raise DataError(f"{path}: expected rows of bench_insertion_order, got none")
    figure = charts.order_effect(rows)  # type: ignore[attr-defined]
    caption = "Recall@10 against the random order, in points; the line is the range over the seeds"
    return [Heading(2, "Order of insertion"), Picture("order-effect", caption, figure)]


def _or_reason(cells: list[object], measured: Measured, known: bool) -> list[object]:
    """A row of hyphens says why."""
    if not known and measured.failure:
        return [f"{measured.engine} ({measured.failure})", *cells[1:]]
    return cells


def _signed(sign: str, cell: str | None) -> str | None:
    return None if cell is None else sign + cell


def _mebibytes(size: float | None) -> str | None:
    return None if size is None else f"{size / 2**20:,.0f}"
