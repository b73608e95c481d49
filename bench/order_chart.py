"""The picture of what the order of insertion does, from rows of bench_insertion_order."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .charts import COLOURS, tidy
from .machine import Row

ORDER_VARIANTS = {  # variant of bench_insertion_order -> label, library, hatch
    "whimbrel batched keep_pruned": ("whimbrel", "whimbrel", ""),
    "whimbrel sequential": ("whimbrel, one at a time, lists not filled", "whimbrel", "////"),
    "hnswlib": ("hnswlib", "hnswlib", ""),
}
ORDER_LABELS = {
    "lid_descending": "LID\nfalling",
    "lid_ascending": "LID\nrising",
    "mean_distance_descending": "far from\nmean first",
    "category": "by\ncategory",
}


def order_effect(rows: Sequence[Row], M: int = 16, efs: Sequence[int] = (10, 64)) -> Figure:
    """Recall of each order less that of the random order, at two values of ef."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(2.2 + 2.7 * len(datasets), 3.1 * len(efs) + 0.9), layout="constrained")
    grid = figure.subplots(len(efs), len(datasets), squeeze=False, sharey="row")
    for line, ef in zip(grid, efs, strict=True):
        for axes, dataset in zip(line, datasets, strict=True):
            here = [row for row in rows if row["dataset"] == dataset and row["M"] == M]
            _order_panel(axes, here, ef)
            title = f"{dataset}, ef {ef}"
            tidy(axes, title, y="points of recall@10 against random order" if axes is line[0] else "")
            axes.grid(False, axis="x")
            axes.axhline(0, color="#555555", linewidth=1)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle(f"What the order of insertion does (M {M})", fontsize=13, fontweight="bold")
    return figure


def _order_panel(axes: Axes, rows: Sequence[Row], ef: int) -> None:
    recalls: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        at = next((point["recall"] for point in row["points"] if point["ef"] == ef), None)
        if at is not None:
            recalls[row["variant"], row["order"]][row["seed"]] = 100 * at
    orders = [order for order in ORDER_LABELS if any(key[1] == order for key in recalls)]
    width = 0.8 / len(ORDER_VARIANTS)
    for number, (variant, (label, name, hatch)) in enumerate(ORDER_VARIANTS.items()):
        for place, order in enumerate(orders):
            random, other = recalls[variant, "random"], recalls[variant, order]
            gains = [other[seed] - random[seed] for seed in other if seed in random]
            if not gains:
                continue
            middle = statistics.median(gains)
            axes.bar(
                place + (number - 1) * width,
                middle,
                width * 0.92,
                color=COLOURS[name],
                alpha=0.55 if hatch else 1,
                hatch=hatch,
                edgecolor="white" if hatch else COLOURS[name],
                linewidth=0,
                yerr=[[middle - min(gains)], [max(gains) - middle]],
                ecolor="#888888",
                capsize=2,
                label=label if place == 0 else None,
            )
    axes.set_xticks(range(len(orders)), [ORDER_LABELS[order] for order in orders])
