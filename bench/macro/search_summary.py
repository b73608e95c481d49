"""This package against each library in one table, for a README: medians only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.macro.search_results import Measured, Values, ratios
from bench.report import Table

OWN = "whimbrel"
SHOWN = {
    "batch at 0.95": ("batch", 0.95),
    "batch at 0.99": ("batch", 0.99),
    "one by one at 0.95": ("single", 0.95),
    "all threads at 0.95": ("batch_threads", 0.95),
}


def summary(dataset: str, engines: Sequence[Measured]) -> Table | None:
    """One row per library, after the package's own figures; None where it was not measured."""
    own = next((measured for measured in engines if measured.engine == OWN), None)
    if own is None:
        return None
    body: list[list[object]] = [["its own figures: s, QPS, MiB", *_figures(own)]]
    body += [
        [measured.engine, *_against(own, measured)]
        for measured in engines
        if measured.engine.partition("#")[0] != OWN
    ]
    title = f"{dataset}: {OWN} is so many times faster, and has such a share of the memory"
    return Table(title, [f"{OWN} against", "build", *SHOWN, "memory"], body)


def _figures(own: Measured) -> list[str | None]:
    cells = [_median(own.build_seconds(), ",.1f")]
    for mode, level in SHOWN.values():
        values, bound = own.at(mode, level)
        cells.append(_signed(">=", bound, _median(values, ",.0f")))
    resident = _resident(own)
    return [*cells, None if resident is None else f"{resident / 2**20:,.0f}"]


def _against(own: Measured, other: Measured) -> list[str | None]:
    """Where even the fastest setting has more recall, a speed is only a lower bound, and so is its ratio."""
    cells = [_middle(ratios(other.build_seconds(), own.build_seconds()))]
    for mode, level in SHOWN.values():
        (mine, my_bound), (theirs, their_bound) = own.at(mode, level), other.at(mode, level)
        cell = _signed(">=", my_bound, _signed("<=", their_bound, _middle(ratios(mine, theirs))))
        cells.append(None if my_bound and their_bound else cell)
    sizes = _resident(own), _resident(other)
    return [*cells, f"{sizes[0] / sizes[1]:.2f}x" if sizes[0] is not None and sizes[1] else None]


def _resident(measured: Measured) -> float | None:
    found = (measured.facts or {}).get("resident_bytes")
    return None if found is None else float(found)


def _middle(values: Sequence[float]) -> str | None:
    return f"{statistics.median(values):.2f}x" if values else None


def _median(values: Values, form: str) -> str | None:
    return format(statistics.median(values.values()), form) if values else None


def _signed(sign: str, bound: bool, cell: str | None) -> str | None:
    return f"{sign} {cell}" if bound and cell is not None else cell
