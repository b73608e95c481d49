"""Arguments to what the core takes: arrays of one dtype in C order, integers in range, known names.

Every message starts with the name of the argument. Values (NaN, infinity, negative ids) are checked by the
core.
"""

from __future__ import annotations

import math
import operator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._device_arrays import is_device_array

__all__ = [
    "CODECS",
    "MAX_DIM",
    "METRICS",
    "Float32",
    "Float64",
    "Int64",
    "as_array",
    "as_choice",
    "as_counts",
    "as_distances",
    "as_int",
    "as_int_vector",
    "as_matrix",
    "as_mu",
    "as_rows",
    "as_scores",
    "as_threads",
    "as_values",
    "check_finite",
    "into",
    "normalized",
]

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]

METRICS = ("l2", "ip", "cosine")
CODECS = ("f32", "f16", "sq8", "sq4", "auto")
MAX_DIM = 2**20
MAX_THREADS = 1024


def as_array(name: str, values: Any, kinds: str = "biuf") -> NDArray[Any]:
    """Any array_like in host memory whose dtype kind is one of `kinds` (numpy's letters)."""
    if is_device_array(values):
        raise TypeError(
            f"{name}: expected an array in host memory, got {type(values).__name__} on a CUDA device; "
            "copy it first (cupy.asnumpy(x), or x.cpu() of a torch tensor)"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: expected a rectangular array, got {error}") from None
    if array.size == 0 and not hasattr(values, "dtype"):
        array = array.astype(np.int64)  # an empty list has no dtype of its own
    if array.dtype.kind not in kinds:
        expected = "real numbers" if "f" in kinds else "integers"
        raise TypeError(f"{name}: expected {expected}, got dtype {array.dtype}")
    return array


def as_float32(array: NDArray[Any]) -> Float32:
    """Round to float32; what is too large becomes infinite, which the core refuses."""
    if array.dtype == np.float32:
        return np.ascontiguousarray(array)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def check_finite(name: str, rows: Float32) -> None:
    """Raise an error that names the first row with a NaN or infinity, as the core does."""
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity in row {int(finite.argmin())}")


def into(out: Any, result: NDArray[Any]) -> NDArray[Any]:
    """Return `result`, in the caller's array if there is one."""
    if out is None:
        return result
    if not isinstance(out, np.ndarray) or (out.shape, out.dtype) != (result.shape, result.dtype):
        found = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(
            f"out: expected a numpy array of {result.dtype} and shape {result.shape}, got {found}"
        )
    out[...] = result
    return out


def normalized(rows: Float32) -> Float32:
    """Scale every row to unit length; a zero row stays zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    with np.errstate(invalid="ignore"):  # infinite values become NaN, for whoever checks the result
        return rows / np.where(norms > 0, norms, 1).astype(np.float32)[:, None]


def as_rows(name: str, values: ArrayLike, dim: int | None = None) -> NDArray[Any]:
    """Vectors, one a row, (n, dim), of any dtype of real numbers."""
    array = as_array(name, values)
    if array.ndim != 2 or array.shape[1] == 0 or dim not in (None, array.shape[1]):
        raise ValueError(f"{name}: expected shape (n, {dim or 'd'}), got {array.shape}")
    return array


def as_matrix(name: str, values: ArrayLike, dim: int | None = None) -> Float32:
    """Vectors, one a row: (n, dim) float32 in C order, copied only if it is not that already."""
    return as_float32(as_rows(name, values, dim))


def as_distances(name: str, values: ArrayLike) -> Float32:
    """Distances to neighbors, (n, k) float32; k = 0 is allowed."""
    array = as_array(name, values)
    if array.ndim != 2:
        raise ValueError(f"{name}: expected shape (n, k), got {array.shape}")
    return as_float32(array)


def as_values(name: str, values: ArrayLike) -> Float64:
    """One number per point: (n,) float64."""
    array = as_array(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected shape (n,), got {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float64)


def as_int_vector(name: str, values: ArrayLike) -> Int64:
    """Ids or a permutation: (n,) int64."""
    array = as_array(name, values, "iu")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected shape (n,), got {array.shape}")
    if array.dtype == np.uint64 and array.size > 0 and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected values below 2**63, got {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_int(name: str, value: Any, low: int, high: int) -> int:
    """Return an integer in low..high."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {low}..{high}, got {number}")
    return number


def as_counts(name: str, values: ArrayLike, low: int, high: int) -> Int64:
    """Return a vector of whole numbers of a range."""
    numbers = as_int_vector(name, values)
    wrong = numbers[(numbers < low) | (numbers > high)]
    if len(wrong) > 0:
        raise ValueError(f"{name}: expected {low}..{high}, got {wrong[0]}")
    return numbers


def as_threads(value: Any) -> int:
    """Return the number of threads, 0 for all."""
    return as_int("threads", value, 0, MAX_THREADS)


def as_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return one of a few names."""
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return value


def as_scores(name: str, values: ArrayLike) -> Float32:
    """Scores, a row per query: (q, n) float32 in C order; either may be 0."""
    array = as_array(name, values)
    if array.ndim != 2:
        raise ValueError(f"{name}: expected shape (q, n), got {array.shape}")
    return as_float32(array)


def as_mu(mu: float | None) -> float:
    """Return the ridge parameter for the core: negative to choose it."""
    if mu is None:
        return -1.0
    if not (isinstance(mu, (int, float, np.floating)) and math.isfinite(mu) and mu >= 0):
        raise ValueError(f"mu: expected a finite number of at least 0, got {mu!r}")
    return float(mu)
