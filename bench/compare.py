"""Two result files of bench_search: what changed, beside how far the same thing varies.

A change counts where the ranges of the repetitions do not overlap and it is larger than what the A/A check of
either file shows. Files of different machines are refused unless told to.

  whimbrel bench compare BEFORE AFTER
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import results
from bench.dataset import DataError
from bench.harness import RECALL_LEVELS
from bench.machine import Row
from bench.macro.search_results import (
    MODES,
    Measured,
    collect,
    compare_with_itself,
    datasets_of,
    last_plan,
)
from bench.report import Block, Heading, Table, Text, to_markdown

# What must agree for rows of two files to be about the same thing; the engine and its version may differ.
SETTINGS = ("checksum", "M", "ef_construction", "threads", "k", "timed")


def require_one_machine(before: results.ResultFile, after: results.ResultFile) -> None:
    """Refuse files of different machines."""
    machines = {}
    for file in (before, after):
        for facts in file.rows("machine"):
            machines[results.machine_key(facts)] = results.describe(facts)
    if len(machines) > 1:
        raise DataError(
            f"the files were measured on different machines ({'; '.join(machines.values())}): "
            "compare them with --other-machine if that is meant"
        )


def compare(before: results.ResultFile, after: results.ResultFile) -> list[Block]:
    """A table for each data set that both files have."""
    old, new = before.rows(), after.rows()
    blocks: list[Block] = []
    only = sorted(set(datasets_of(old)) ^ set(datasets_of(new)))
    for dataset in datasets_of(new):
        first, second = last_plan(old, dataset), last_plan(new, dataset)
        if first is None or second is None:
            continue
        blocks.append(Heading(2, dataset))
        differing = [name for name in SETTINGS if first[name] != second[name]]
        if differing:
            changes = ", ".join(f"{name} {first[name]} and {second[name]}" for name in differing)
            blocks.append(Text(f"Not compared: measured with different settings, {changes}."))
            continue
        blocks += _changes(collect(old, first), collect(new, second))
    if only:
        blocks.append(Text(f"In one file only: {', '.join(only)}."))
    if not blocks:
        raise DataError(f"{before.path}, {after.path}: expected data sets in common, got none")
    return blocks


def _changes(before: Sequence[Measured], after: Sequence[Measured]) -> list[Block]:
    noise = max(_own_noise(before), _own_noise(after))
    old = {measured.engine: measured for measured in before}
    body: list[list[object]] = []
    for measured in after:
        if measured.engine in old:
            body += _engine(old[measured.engine], measured, noise)
    only = sorted({m.engine for m in before} ^ {m.engine for m in after})
    caption = f"Changes; an engine against itself varied by {noise:.1%} within one run"
    header = ["engine", "quantity", "before", "after", "change", "verdict"]
    found: list[Block] = [Table(caption, header, body)]
    if only:
        found.append(Text(f"In one file only: {', '.join(only)}."))
    return found


def _own_noise(engines: Sequence[Measured]) -> float:
    """Deviation of the A/A check from 1."""
    found = compare_with_itself(engines)
    return abs(statistics.median(found.speeds) - 1) if found else 0.0


def _engine(old: Measured, new: Measured, noise: float) -> list[list[object]]:
    lines = []
    for mode in MODES:
        for level in RECALL_LEVELS:
            (a, a_bound), (b, b_bound) = old.at(mode, level), new.at(mode, level)
            name = f"QPS at {level:.2f}, {MODES[mode]}" + (" (>=)" if a_bound or b_bound else "")
            lines.append(_line(name, list(a.values()), list(b.values()), noise, more_is_better=True))
    a_seconds, b_seconds = list(old.build_seconds().values()), list(new.build_seconds().values())
    lines.append(_line("build seconds", a_seconds, b_seconds, noise, more_is_better=False, digits=2))
    for name, title in (
        ("peak_bytes", "peak MiB"),
        ("resident_bytes", "resident MiB"),
        ("disk_bytes", "files MiB"),
    ):
        sizes = [
            [_size(row, name) for row in side.builds if row.get(name) is not None] for side in (old, new)
        ]
        lines.append(_line(title, sizes[0], sizes[1], noise, more_is_better=False, digits=1))
    return [[new.engine, *line] for line in lines if line is not None]


def _size(row: Row, name: str) -> float:
    return float(row[name]) / 2**20


def _line(
    name: str, a: Sequence[float], b: Sequence[float], noise: float, more_is_better: bool, digits: int = 0
) -> list[object] | None:
    if not a or not b:
        return None
    change = statistics.median(b) / max(statistics.median(a), 1e-9) - 1
    apart = min(b) > max(a) or max(b) < min(a)
    few = min(len(a), len(b)) < 2
    verdict = "within noise"
    if apart and abs(change) > max(noise, 0.005):
        verdict = "better" if (change > 0) == more_is_better else "worse"
        verdict += " (measured once)" if few else ""
    return [name, results.with_range(a, digits), results.with_range(b, digits), f"{change:+.1%}", verdict]


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, print."""
    flags = argparse.ArgumentParser(
        prog="whimbrel bench compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("before", type=Path, help="search.jsonl, or the folder that has it")
    flags.add_argument("after", type=Path)
    flags.add_argument("--other-machine", action="store_true", help="compare even different machines")
    args = flags.parse_args(argv)
    before, after = (results.ResultFile(_file(path)) for path in (args.before, args.after))
    if not args.other_machine:
        require_one_machine(before, after)
    sys.stdout.write(to_markdown(compare(before, after)))


def _file(path: Path) -> Path:
    file = path / "search.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    return file
