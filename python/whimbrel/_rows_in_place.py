"""The arrays that an index can use where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Float32

__all__ = ["as_rows_in_place"]


def as_rows_in_place(name: str, values: Any) -> Float32:
    """Vectors that are read where they are: (n, d) float32 in an ndarray, each row in one piece."""
    if (
        not isinstance(values, np.ndarray)
        or values.dtype != np.float32
        or values.ndim != 2
        or not values.flags.aligned
        or values.strides[1] != 4
        or values.strides[0] < 4 * values.shape[1]
        or values.shape[1] == 0
    ):
        raise ValueError(
            f"{name}: expected an ndarray of float32, (n, d), with rows in one piece each, to use it without "
            "a copy, got another (np.ascontiguousarray(x, np.float32) makes one)"
        )
    return values
