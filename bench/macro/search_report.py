"""The report of bench_search.py: tables and pictures of each data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench import engines as engines_of
from bench import report, results
from bench.dataset import DataError
from bench.machine import Row
from bench.macro.search_results import (
    MODES,
    Measured,
    collect,
    compare_with_itself,
    datasets_of,
    last_plan,
)
from bench.macro.search_summary import summary
from bench.macro.search_tables import build_table, cost_table, points_table, speed_table
from bench.report import Block, Heading, Picture, Text

SELF_TOLERANCE = 0.05
USUAL_BASELINE = "hnswlib"
HOW = (
    "A number is the median of the repetitions, with their extremes in brackets. Ratios are to {baseline}, "
    "taken within a repetition. Speeds at a recall level lie on a straight line in (recall, log speed) "
    "between the two measured points around it; nothing is extrapolated: '-' is a level that the sweep does "
    "not reach, '>=' the speed of the fastest setting where even that has more recall."
)


def write_report(
    out: results.ResultFile, folder: Path, baseline: str | None = None, order_effect: Path | None = None
) -> str:
    """Write report.md, report.html and pictures of a result file; return the Markdown.

    Without a `baseline`, ratios are to hnswlib where it was measured, or to the first engine.
    """
    try:
        from bench import charts
    except ImportError:
        charts = None  # type: ignore[assignment]
    rows = out.rows()
    names = datasets_of(rows)
    if not names:
        raise DataError(f"{out.path}: expected rows of a run, got none")
    blocks: list[Block] = []
    used: set[str | None] = set()
    for name in names:
        plan = last_plan(rows, name)
        assert plan is not None
        measured = collect(rows, plan)
        runs = set().union(*(one.runs for one in measured))
        used |= runs
        blocks += dataset_blocks(plan, measured, baseline)
        if charts is not None:
            blocks += pictures(charts, name, measured)
        mine = [row for row in rows if row.get("dataset") == name and row.get("run") in runs]
        blocks += [Text(text) for text in results.noise_of(mine)]
    machines = results.describe_machines([row for row in rows if row.get("run") in used])
    blocks = [Heading(1, "Recall against speed"), Text(machines), *blocks]
    if order_effect is not None and charts is not None:
        blocks += order_blocks(charts, order_effect)
    if charts is None:
        blocks.append(Text("No pictures: matplotlib is not installed (pip install 'whimbrel[bench]')."))
    return report.write(folder, "whimbrel: recall against speed", blocks)


def dataset_blocks(plan: Row, engines: Sequence[Measured], baseline: str | None) -> list[Block]:
    """Tables of one data set."""
    by_name = {measured.engine: measured for measured in engines}
    if baseline is None:
        baseline = USUAL_BASELINE if USUAL_BASELINE in by_name else engines[0].engine
    elif baseline not in by_name:
        raise DataError(f"baseline: expected one of {', '.join(by_name)}, got {baseline!r}")
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
        *filter(None, [summary(plan["dataset"], engines)]),
        speed_table(engines, base, "single"),
        build_table(engines, base),
        *(speed_table(engines, base, mode) for mode in MODES if mode != "single"),
        cost_table(engines, plan["k"]),
        points_table(engines, plan["k"]),
    ]
    missing = [f"{measured.engine}: {measured.failure}" for measured in engines if measured.failure]
    left_out = [name for name in engines_of.ON_DEMAND if name not in map(engines_of.plain_name, by_name)]
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
