"""What becomes of measured numbers: result files, interpolation, Markdown tables."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .dataset import DataError
from .machine import Row, machine_facts

# ---------------------------------------------------------------- result files


class ResultFile:
    """Rows as JSON lines, written as they are measured; each names its run, and a run its machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run: str | None = None
        self._noted: set[int] = set()

    def write(self, kind: str, row: Row) -> None:
        """Append one row; the first of a run is preceded by the facts about the machine."""
        if self._run is None:
            facts = machine_facts()
            self._run = f"{facts['time']}-{os.getpid()}"
            self._append({"kind": "machine", "run": self._run, **facts})
        self._append({"kind": kind, "run": self._run, **row})

    def _append(self, row: Row) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # a run was cut off in the middle of a row
                    file.write(b"\n")
            file.write(json.dumps(row).encode() + b"\n")

    def rows(self, kind: str | None = None) -> list[Row]:
        """All whole rows, or those of one kind; a row that was cut off is left out with a note on stderr."""
        if not self.path.exists():
            return []
        rows: list[Row] = []
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                if line and number not in self._noted:
                    self._noted.add(number)
                    print(f"{self.path}:{number}: not a whole row, left out", file=sys.stderr)
                continue
            if kind is None or row.get("kind") == kind:
                rows.append(row)
        return rows

    def find(self, kind: str, identity: Row) -> list[Row]:
        """Rows of one kind that agree with all that is given."""
        return [row for row in self.rows(kind) if identity.items() <= row.items()]

    def require_this_machine(self) -> None:
        """Refuse to add to what another machine measured."""
        here = machine_key(machine_facts())
        for facts in self.rows("machine"):
            if machine_key(facts) != here:
                raise DataError(
                    f"{self.path}: was measured on another machine, {describe(facts)}; name another --out"
                )


def machine_key(facts: Row) -> tuple[object, ...]:
    """What must agree for two speeds to be comparable."""
    return tuple(facts.get(name) for name in ("cpu", "cores", "isa"))


def describe(facts: Row) -> str:
    """One machine in words."""
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}"


# ---------------------------------------------------------------- interpolation


def at_recall(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """Value at a recall level, from (recall, value) pairs: a straight line in (recall, log value).

    None if the level is not between two measured ones; nothing is extrapolated.
    """
    ordered = sorted(points)
    for (recall_a, a), (recall_b, b) in itertools.pairwise(ordered):
        if recall_a <= level <= recall_b:
            share = (level - recall_a) / max(recall_b - recall_a, 1e-12)
            return float(np.exp((1 - share) * np.log(a) + share * np.log(b)))
    return None


def at_cost(points: Sequence[tuple[float, float]], cost: float) -> float | None:
    """Recall at a number of distance computations, from (recall, distances) pairs: straight in the log count.

    None if the count is outside the measured ones.
    """
    ordered = sorted((np.log(distances), recall) for recall, distances in points)
    logs, recalls = [log for log, _ in ordered], [recall for _, recall in ordered]
    if not logs or not logs[0] - 1e-9 <= np.log(cost) <= logs[-1] + 1e-9:
        return None
    return float(np.interp(np.log(cost), logs, recalls))


# ---------------------------------------------------------------- tables


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; None becomes a hyphen."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join("-" if cell is None else str(cell) for cell in line) + " |" for line in lines
    )


def number(value: float | None, digits: int = 0) -> str | None:
    """Format with thousands separators."""
    return None if value is None else f"{value:,.{digits}f}"


def with_range(values: Sequence[float | None], digits: int = 0, unit: str = "") -> str | None:
    """Median of repeated measurements and, in brackets, their extremes; None if one of them is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    middle = f"{statistics.median(known):,.{digits}f}{unit}"
    return middle if len(known) == 1 else f"{middle} ({min(known):,.{digits}f}..{max(known):,.{digits}f})"


def describe_machines(rows: Sequence[Row]) -> str:
    """Say in one line each on which machines, and with which versions, a file was measured."""
    lines = []
    for facts in (row for row in rows if row["kind"] == "machine"):
        versions = ", ".join(f"{package} {v}" for package, v in facts["versions"].items() if v)
        line = f"{describe(facts)}; {versions}; commit {facts['commit']}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def noise_of(rows: Sequence[Row]) -> list[str]:
    """How long it took, and how quiet the machine was; nothing if it was not finished."""
    noise = [row for row in rows if row["kind"] == "noise"]
    if not noise:
        return []
    wall, steal = sum(row["wall_seconds"] for row in noise), max(row["steal_percent"] for row in noise)
    return [f"Took {wall:,.0f} s; stolen by the hypervisor: at most {steal:.1f} %."]


def report(out: ResultFile, datasets: Sequence[str], tables: Callable[[list[Row]], str]) -> str:
    """Machine; for each data set the tables of its last run, what failed, how quiet the machine was."""
    rows = out.rows()
    parts = [describe_machines(rows)]
    for dataset in datasets:
        mine = [row for row in rows if row.get("dataset") == dataset]
        mine = [row for row in mine if row["run"] == mine[-1]["run"]]
        if not mine:
            continue
        parts += [f"### {dataset}", tables(mine)]
        failed = [row for row in mine if row["kind"] == "failed"]
        parts += dict.fromkeys(f"{row['engine']} FAILED: {row['reason']}" for row in failed)
        parts += noise_of(mine)
    return "\n\n".join(parts)
