"""Vectors in the dtype that an index holds: float32, to which real numbers convert, or bytes as they are."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Float32, as_array, as_choice, as_matrix, as_rows

__all__ = ["Vectors", "as_dtype", "as_queries", "as_vectors"]

Vectors: TypeAlias = Float32 | NDArray[np.int8] | NDArray[np.uint8]

DTYPES = ("float32", "int8", "uint8")


def as_dtype(dtype: Any) -> str:
    """Return the name of one of the dtypes an index can hold."""
    try:
        name = np.dtype(dtype).name if dtype is not None else None
    except TypeError:
        name = None
    return as_choice("dtype", name if name in DTYPES else dtype, DTYPES)


def as_vectors(name: str, values: ArrayLike, dtype: str, dim: int | None = None) -> Vectors:
    """Vectors, one a row, in C order. Nothing is converted to bytes."""
    if dtype == "float32":
        return as_matrix(name, values, dim)
    array = as_rows(name, values, dim)
    if array.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, which the index holds, got {array.dtype}")
    return np.ascontiguousarray(array)


def as_queries(name: str, values: ArrayLike, dtype: str, dim: int) -> tuple[Vectors, bool]:
    """Return queries as a matrix, and whether they were a single vector."""
    array = as_array(name, values)
    if array.ndim != 1:
        return as_vectors(name, array, dtype, dim), False
    if array.shape[0] != dim:
        raise ValueError(f"{name}: expected shape ({dim},) or (n, {dim}), got {array.shape}")
    return as_vectors(name, array[None, :], dtype, dim), True
