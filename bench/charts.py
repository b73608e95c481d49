"""Pictures of recall, speed and costs, by matplotlib. One library has one colour in all of them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from .engines import plain_name
from .harness import RECALL_LEVELS
from .macro.search_results import MODES, Measured

# Distinct for colour-blind eyes too; this package in front.
COLOURS = {
    "whimbrel": "#d55e00",
    "hnswlib": "#222222",
    "faiss": "#0072b2",
    "usearch": "#e69f00",
    "svs": "#009e73",
    "vsag": "#cc79a7",
    "ngt": "#56b4e9",
    "numpy": "#999999",
}
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
LOWEST_RECALL, ALMOST_EXACT = 0.80, 0.998
FONT = {"title": 11, "label": 10, "tick": 9}


def library(engine: str) -> str:
    """What has one colour: faiss-hnsw and faiss-flat are one library."""
    return plain_name(engine).partition("-")[0]


def styles(engines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour by library; line and marker by the place among the engines of that library."""
    seen: dict[str, int] = defaultdict(int)
    found = {}
    for engine in engines:
        name = library(engine)
        place = seen[name] % len(LINES)
        seen[name] += 1
        found[engine] = {
            "color": COLOURS.get(name, "#7f7f7f"),
            "linestyle": LINES[place],
            "marker": MARKERS[place],
            "linewidth": 2.4 if name == "whimbrel" else 1.4,
            "zorder": 3 if name == "whimbrel" else 2,
        }
    return found


def _nines(recall: float) -> float:
    """Place on the axis: each nine is as wide as the one before it, up to the end for what is exact."""
    return float(-np.log10(max(1 - recall, 1 - ALMOST_EXACT)))


def tidy(axes: Axes, title: str, **labels: str) -> None:
    axes.set_title(title, fontsize=FONT["title"])
    axes.set_xlabel(labels.get("x", ""), fontsize=FONT["label"])
    axes.set_ylabel(labels.get("y", ""), fontsize=FONT["label"])
    axes.tick_params(labelsize=FONT["tick"])
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def pareto(dataset: str, engines: Sequence[Measured]) -> Figure:
    """Median speed over recall, one panel per way of calling."""
    figure = Figure(figsize=(14, 5.2), layout="constrained")
    panels = figure.subplots(1, len(MODES), sharex=True, sharey=True)
    style = styles([measured.engine for measured in engines])
    for axes, (mode, title) in zip(panels, MODES.items(), strict=True):
        for measured in engines:
            points = _medians(measured, mode)
            if points:
                recalls, speeds = zip(*points, strict=True)
                places = [_nines(recall) for recall in recalls]
                axes.plot(places, speeds, label=measured.engine, markersize=4.5, **style[measured.engine])
        axes.set_yscale("log")
        axes.set_xlim(_nines(LOWEST_RECALL), _nines(ALMOST_EXACT) + 0.08)
        ticks = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]
        labels = [*(f"{recall:g}" for recall in ticks), f"≥ {ALMOST_EXACT}"]
        axes.set_xticks([_nines(recall) for recall in (*ticks, ALMOST_EXACT)], labels)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(_at_two_and_five))
        axes.tick_params(which="minor", labelsize=FONT["tick"])
        tidy(axes, title, x="recall@10", y="queries per second" if mode == "single" else "")
    _fit_heights(panels)
    for axes in panels:
        for level in RECALL_LEVELS:
            axes.axvline(_nines(level), color="#bbbbbb", linewidth=0.8, zorder=1)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle(dataset, fontsize=13, fontweight="bold")
    return figure


def _at_two_and_five(value: float, _: object) -> str:
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:,.0f}" if digit in (2, 5) else ""


def _fit_heights(panels: Sequence[Axes]) -> None:
    """Let the axes hold what is right of the lowest recall, and no more."""
    left = _nines(LOWEST_RECALL)
    shown: list[float] = []
    for axes in panels:
        for line in axes.get_lines():
            x, y = np.asarray(line.get_xydata()).T
            shown += y[x >= left].tolist()
            if x[0] < left < x[-1]:
                shown.append(float(np.exp(np.interp(left, x, np.log(y)))))
    if shown:
        panels[0].set_ylim(min(shown) / 1.3, max(shown) * 1.3)


def _medians(measured: Measured, mode: str) -> list[tuple[float, float]]:
    """(recall, speed) of every timed point, over all passes."""
    speeds: dict[tuple[float, float], list[float]] = defaultdict(list)
    for row in measured.passes:
        for point in row["points"]:
            speeds[point["recall"], point["value"]].append(point[mode])
    return sorted((recall, statistics.median(values)) for (recall, _), values in speeds.items())


def costs(dataset: str, engines: Sequence[Measured]) -> Figure:
    """Build seconds, and memory in three ways."""
    built = [measured for measured in engines if measured.facts is not None]
    figure = Figure(figsize=(14, 1.6 + 0.36 * len(built)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(built))[::-1]
    for place, measured in zip(places, built, strict=True):
        colour = COLOURS.get(library(measured.engine), "#7f7f7f")
        seconds = list(measured.build_seconds().values())
        middle = statistics.median(seconds)
        error = [[middle - min(seconds)], [max(seconds) - middle]] if len(seconds) > 1 else None
        left.barh(place, middle, 0.7, color=colour, xerr=error, ecolor="#555555", capsize=3)
        left.annotate(
            f"{middle:,.1f}", (max(seconds), place), (5, 0), "data", "offset points", va="center", size=9
        )
        facts = measured.facts or {}
        for offset, name, alpha in (
            (0.26, "peak_bytes", 0.35),
            (0.0, "resident_bytes", 1.0),
            (-0.26, "disk_bytes", 0.65),
        ):
            if facts.get(name) is not None:
                right.barh(place + offset, max(facts[name], 0) / 2**20, 0.24, color=colour, alpha=alpha)
    left.set_yticks(places, [measured.engine for measured in built])
    tidy(left, "build time", x="seconds")
    tidy(
        right,
        "memory beside the given vectors\n(from top: peak of the build, resident after it, files)",
        x="MiB",
    )
    for axes in (left, right):
        axes.grid(False, axis="y")
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    left.margins(x=0.1)
    figure.suptitle(dataset, fontsize=13, fontweight="bold")
    return figure
