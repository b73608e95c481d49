"""Sets of vectors in every form that users hold them, to what the core takes: all tokens, and offsets.

As in `_arrays`, forms and dtypes are checked here; values (NaN, offsets that fall) are checked by the core.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arrays import Float32, Int64, as_array, as_float32, as_int_vector

__all__ = ["Ragged", "RaggedLike", "as_ragged", "as_ragged_or_one", "host_array", "is_pair"]

RaggedLike: TypeAlias = Any  # a union of unrelated protocols would say less than the docstring of as_ragged
CPU_DEVICES = (1, 3)  # DLPack: host memory, and host memory pinned for CUDA


class Ragged(NamedTuple):
    """Sets one after another: set ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    tokens : (T, d) float32, C order
    offsets : (n + 1,) int64
    """

    tokens: Float32
    offsets: Int64


def host_array(name: str, values: Any) -> NDArray[Any]:
    """Any array_like of real numbers, or an object with ``__dlpack__`` in host memory, without a copy."""
    if isinstance(values, np.ndarray) or not hasattr(values, "__dlpack__"):
        return as_array(name, values)
    if values.__dlpack_device__()[0] not in CPU_DEVICES:
        raise TypeError(
            f"{name}: expected an array in host memory, got {type(values).__name__} on another device; "
            "copy it first (x.cpu() of a torch tensor)"
        )
    try:
        return as_array(name, np.from_dlpack(values))
    except (BufferError, RuntimeError) as error:  # bfloat16, or a tensor that still wants its gradient
        raise TypeError(
            f"{name}: expected an array that NumPy can read (x.detach().float() of a torch tensor), "
            f"got {error}"
        ) from None


def as_ragged(name: str, sets: RaggedLike, dim: int | None = None) -> Ragged:
    """Bring sets of vectors into the form of the core; a copy only where it must be.

    Parameters
    ----------
    name : str
        For messages.
    sets : sequence or tuple or array
        A sequence of n arrays (t_i, d), t_i = 0 allowed; a tuple ``(tokens, offsets)`` of (T, d) and
        (n + 1,) integers; a tuple ``(padded, mask)`` of (n, t, d) and (n, t), where the mask is True or 1 at
        tokens; or one array (n, t, d) without padding. Arrays may be anything with ``__array__`` or
        ``__dlpack__`` in host memory, of any real dtype.
    dim : int, optional
        The dimension they must have.

    Raises
    ------
    ValueError
        Another shape, or sets of different dimension.
    TypeError
        Not real numbers, or arrays on a GPU.
    """
    ragged = _from_pair(name, sets, dim)
    if ragged is not None:
        return ragged
    if hasattr(sets, "__cuda_array_interface__") or _is_one_array(sets):
        array = host_array(name, sets)
        if array.ndim == 3:
            return _from_padded(name, array, np.ones(array.shape[:2], np.bool_), dim)
        raise ValueError(
            f"{name}: expected sets: a list of (t, d) arrays, (tokens, offsets) or (padded, mask), "
            f"got one array of shape {array.shape}"
        )
    if not isinstance(sets, Iterable) or isinstance(sets, (str, bytes)):
        raise TypeError(f"{name}: expected sets of vectors, got {type(sets).__name__}")
    return _from_sequence(name, list(sets), dim)


def as_ragged_or_one(name: str, sets: RaggedLike, dim: int | None = None) -> tuple[Ragged, bool]:
    """Like `as_ragged`, but a single (t, d) array is one set; return whether it was."""
    if _is_one_array(sets):
        array = host_array(name, sets)
        if array.ndim == 2:
            return as_ragged(name, [array], dim), True
    return as_ragged(name, sets, dim), False


def is_pair(sets: Any) -> bool:
    """Whether a tuple says which sets it means by itself, as (tokens, offsets) and (padded, mask) do."""
    if not isinstance(sets, tuple) or len(sets) != 2 or not _is_one_array(sets[0]):
        return False
    return np.ndim(sets[0]) == 2 or np.ndim(sets[1]) == 2


def _is_one_array(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return bool(values.dtype != np.object_)  # an array of arrays is a sequence
    return hasattr(values, "__dlpack__") or hasattr(values, "__array__")


def _from_pair(name: str, sets: RaggedLike, dim: int | None) -> Ragged | None:
    """Return what a tuple of two arrays of different rank means; None if it is not one."""
    if not isinstance(sets, tuple) or len(sets) != 2:
        return None
    if not all(_is_one_array(part) or isinstance(part, list) for part in sets):
        return None
    first, second = (host_array(name, part) for part in sets)
    if first.ndim == 2 and second.ndim == 1:
        offsets = as_int_vector(f"{name} offsets", second)
        return Ragged(_tokens(name, first, dim), offsets)
    if first.ndim == 3 and second.ndim == 2:
        return _from_padded(name, first, second, dim)
    return None


def _tokens(name: str, array: NDArray[Any], dim: int | None) -> Float32:
    if array.ndim != 2 or array.shape[1] == 0 or dim not in (None, array.shape[1]):
        raise ValueError(f"{name}: expected shape (t, {dim or 'd'}), got {array.shape}")
    return as_float32(array)


def _from_padded(name: str, padded: NDArray[Any], mask: NDArray[Any], dim: int | None) -> Ragged:
    if mask.shape != padded.shape[:2]:
        raise ValueError(f"{name} mask: expected shape {padded.shape[:2]}, got {mask.shape}")
    if mask.dtype.kind not in "biu":
        raise TypeError(f"{name} mask: expected booleans or 0 and 1, got dtype {mask.dtype}")
    if mask.dtype.kind != "b" and mask.size > 0 and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{name} mask: expected 0 and 1, got other numbers")
    kept = mask.astype(np.bool_)
    lengths = kept.sum(axis=1, dtype=np.int64)
    return Ragged(_tokens(name, padded[kept], dim), _offsets(lengths))


def _from_sequence(name: str, sets: list[Any], dim: int | None) -> Ragged:
    arrays = [host_array(f"{name}[{i}]", values) for i, values in enumerate(sets)]
    width = dim or next((array.shape[1] for array in arrays if array.ndim == 2), None)
    if width is None:
        raise ValueError(f"{name}: expected at least one array of shape (t, d), got {len(sets)} without one")
    for i, array in enumerate(arrays):
        if array.shape == (0,):  # an empty list
            arrays[i] = array.reshape(0, width)
        elif array.ndim != 2 or array.shape[1] != width or width == 0:
            raise ValueError(f"{name}[{i}]: expected shape (t, {width or 'd'}), got {array.shape}")
    lengths = np.array([len(array) for array in arrays], np.int64)
    tokens = np.empty((int(lengths.sum()), width), np.float32)
    if arrays:
        with np.errstate(all="ignore"):  # what is too large becomes infinite, which the core refuses
            np.concatenate(arrays, out=tokens, casting="unsafe")
    return Ragged(tokens, _offsets(lengths))


def _offsets(lengths: Int64) -> Int64:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
