"""A bare matrix product as a contestant: what arithmetic allows, and what share of it another reaches."""

from __future__ import annotations

import statistics

import numpy as np

from bench.machine import Row
from bench.macro.race import Contestant, rates

NAME = "numpy sgemm"


class Product(Contestant):
    """NumPy's product of two large matrices. Its items are floating-point operations."""

    package = "numpy"
    SIZE = 2048

    def __init__(self, *arguments: object) -> None:
        self.threads = int(str(arguments[-1]))
        self.matrix = np.random.default_rng(1).random((self.SIZE, self.SIZE), dtype=np.float32)

    def work(self) -> object:
        return self.matrix @ self.matrix

    def facts(self) -> Row:
        return {"items": 2 * self.SIZE**3}


def speed(product: Row | None) -> str:
    """The end of a title."""
    return "" if product is None else f"; sgemm {statistics.median(rates(product)) / 1e9:,.0f} GFLOP/s"


def share(row: Row, operations: float, product: Row | None) -> str | None:
    """What part of the product's rate one reaches that does so many operations per item."""
    if product is None:
        return None
    shares = [operations * a / b for a, b in zip(rates(row), rates(product), strict=True)]
    return f"{statistics.median(shares):.1%}"
