"""What the rows of bench_search.py say about each engine, and how engines compare. No formatting."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import results
from bench.harness import RECALL_LEVELS
from bench.machine import Row

MODES = {
    "single": "one query per call, 1 thread",
    "batch": "batch, 1 thread",
    "batch_threads": "batch, all threads",
}
Key = tuple[int, int]  # seed, repetition
Values = dict[Key, float]


@dataclass
class Measured:
    """All rows of one engine over one data set; `failure` is the reason why some are missing."""

    engine: str
    builds: list[Row]
    sweeps: list[Row]
    passes: list[Row]
    failure: str | None

    @property
    def facts(self) -> Row | None:
        """The first build."""
        return self.builds[0] if self.builds else None

    @property
    def runs(self) -> set[str | None]:
        """The runs that measured it."""
        return {row.get("run") for row in (*self.builds, *self.sweeps, *self.passes)}

    def build_seconds(self) -> Values:
        """Of each build."""
        return {_key(row): float(row["seconds"]) for row in self.builds}

    def at(self, mode: str, level: float) -> tuple[Values, bool]:
        """A measured quantity at a recall level, one value per pass; and whether that is only a bound.

        Where even the fastest point has more recall than asked, its value is one: of speeds a lower, of
        latencies an upper.
        """
        values: Values = {}
        bound = False
        for row in self.passes:
            points = [(point["recall"], point[mode]) for point in row["points"]]
            value = results.at_recall(points, level)
            if value is None and points and min(points)[0] > level:
                value, bound = min(points)[1], True
            if value is not None:
                values[_key(row)] = float(value)
        return values, bound

    def counted(self, name: str, level: float) -> float | None:
        """Distances or hops per query at a recall level, where the library tells; mean over the seeds."""
        found = []
        for row in self.sweeps:
            points = [(p["recall"], p[name]) for p in row["points"] if p[name]]
            value = results.at_recall(points, level)
            if value is None:
                return None
            found.append(value)
        return statistics.fmean(found) if found else None

    def top_recall(self) -> float | None:
        """The most that the sweep reached."""
        return max((point["recall"] for row in self.sweeps for point in row["points"]), default=None)


def _key(row: Row) -> Key:
    return row["seed"], row["repetition"]


def ratios(values: Values, baseline: Values) -> list[float]:
    """Ratio within each repetition."""
    return [value / baseline[key] for key, value in values.items() if baseline.get(key)]


def last_plan(rows: Sequence[Row], dataset: str) -> Row | None:
    """What the last run over a data set was to measure."""
    return next((row for row in reversed(rows) if row["kind"] == "plan" and row["dataset"] == dataset), None)


def collect(rows: Sequence[Row], plan: Row) -> list[Measured]:
    """All that agrees with a plan, of the newest version of each engine."""
    common = {name: plan[name] for name in plan if name not in ("kind", "run", "engines", "seeds")}
    fitting = [row for row in rows if common.items() <= row.items() and row.get("seed") in plan["seeds"]]
    found = []
    for engine in plan["engines"]:
        mine = [row for row in fitting if row.get("engine") == engine]
        if mine:
            newest = {name: mine[-1].get(name) for name in ("version", "core")}
            mine = [row for row in mine if newest.items() <= row.items()]
        by_kind = {
            kind: [row for row in mine if row["kind"] == kind]
            for kind in ("build", "sweep", "pass", "failed")
        }
        failure = None
        if not mine:
            failure = "not measured yet"
        elif mine[-1]["kind"] == "failed":
            failure = f"failed in its {mine[-1]['step']}: {mine[-1]['reason']}"
        found.append(Measured(engine, by_kind["build"], by_kind["sweep"], by_kind["pass"], failure))
    return found


def datasets_of(rows: Sequence[Row]) -> list[str]:
    """In the order of their first plan."""
    return list(dict.fromkeys(row["dataset"] for row in rows if row["kind"] == "plan"))


@dataclass(frozen=True)
class SelfComparison:
    """One engine against itself: what other ratios are worth."""

    engine: str
    speeds: list[float]  # the median ratio of each mode and level
    builds: list[float]


def compare_with_itself(engines: Sequence[Measured]) -> SelfComparison | None:
    """The A/A check: the pair `name` and `name#2`."""
    by_name = {measured.engine: measured for measured in engines}
    for name, twin in by_name.items():
        first = by_name.get(name.replace("#2", "", 1))
        if "#2" not in name or first is None:
            continue
        speeds = []
        for mode in MODES:
            for level in RECALL_LEVELS:
                here = ratios(twin.at(mode, level)[0], first.at(mode, level)[0])
                if here:
                    speeds.append(statistics.median(here))
        if speeds:
            builds = ratios(twin.build_seconds(), first.build_seconds())
            return SelfComparison(first.engine, speeds, builds)
    return None
