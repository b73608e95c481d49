"""Adapters: one face for the libraries that are compared, and their names on the command line.

An engine is named by a specification such as `whimbrel`, `whimbrel:order=random,keep_pruned=false` or
`hnswlib:M=32`. A library is imported when its index is built, so that a missing one harms nobody else.
"""

from __future__ import annotations

from typing import Any

from .engine import Counts, Engine, Ids, Level0
from .faiss import FaissFlat, FaissHnsw
from .hnswlib import Hnswlib
from .ngt import Ngt
from .numpy_scan import NumpyScan
from .svs import Svs
from .usearch import Usearch
from .vsag import Vsag
from .whimbrel import Whimbrel

__all__ = ["ENGINES", "ON_DEMAND", "Counts", "Engine", "Ids", "Level0", "distinct", "parse", "plain_name"]

ENGINES: dict[str, type[Engine]] = {
    "whimbrel": Whimbrel,
    "hnswlib": Hnswlib,
    "faiss-hnsw": FaissHnsw,
    "faiss-flat": FaissFlat,
    "usearch": Usearch,
    "svs": Svs,
    "vsag": Vsag,
    "ngt": Ngt,
    "numpy": NumpyScan,
}
ON_DEMAND = ("ngt",)  # its build of 100,000 rows takes longer than half of the others together


def parse(specification: str) -> tuple[type[Engine], dict[str, Any]]:
    """Split `name:key=value,...` into the class and its options; values are bool, int, float or text."""
    name, _, rest = specification.partition(":")
    name = name.partition("#")[0]
    if name not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {name!r}")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"engine: expected key=value, got {part!r}")
        options[key] = _value(text)
    return ENGINES[name], options


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def distinct(specifications: list[str]) -> list[str]:
    """Number repeated engines, so that one can be compared with itself: `whimbrel`, `whimbrel#2`."""
    names: list[str] = []
    for specification in specifications:
        name, colon, rest = specification.partition(":")
        repeat = specifications[: len(names)].count(specification)
        names.append(f"{name}#{repeat + 1}{colon}{rest}" if repeat else specification)
    return names


def plain_name(specification: str) -> str:
    """Name of the library of a specification, without options and number."""
    return specification.partition(":")[0].partition("#")[0]
