"""MaxSim and encodings of sets of token vectors on CUDA devices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._arrays import Int64, as_choice
from ._device_arrays import Place, is_device_array, place_of
from ._device_exact import as_rows

__all__ = ["are_on_device", "encode", "maxsim_matrix", "maxsim_pairs"]

WORKSPACE_BYTES = 1 << 30  # that a call takes at most, if it can do with less
TYPES = ("float32", "float16")


class DeviceSets(NamedTuple):
    """Sets on a device: what the kernels take, offsets in host memory, and the arrays that must live."""

    view: tuple[Any, ...]  # tokens, dtype, address of scales, address of offsets, number of sets
    offsets: Int64
    owners: tuple[Any, ...]


def _parts(sets: Any) -> list[Any]:
    return list(sets) if isinstance(sets, (tuple, list)) else [sets]


def are_on_device(*arguments: Any) -> bool:
    """Whether any of these sets of vectors has an array on a CUDA device."""
    return any(is_device_array(part) for sets in arguments for part in _parts(sets))


def _place(**arguments: Any) -> Place:
    return place_of({name: part for name, sets in arguments.items() for part in _parts(sets)[:1]})


def _as_sets(name: str, sets: Any, place: Place, dim: int | None = None) -> DeviceSets:
    """``(tokens, offsets)``, both on the device, or one (t, d) array that is a single set."""
    single = is_device_array(sets)
    if not single and not (isinstance(sets, tuple) and len(sets) == 2):
        raise TypeError(f"{name}: expected (tokens, offsets) on a device, got {type(sets).__name__}")
    tokens, offsets = (sets, None) if single else sets
    rows = as_rows(name, tokens, place, TYPES, dim)
    if offsets is None:
        offsets = place.library.integers([0, rows.view[1]], place.device)
    array, offsets = place.describe(f"{name} offsets", offsets)
    if len(array.shape) != 1 or not array.dtype.startswith(("int", "uint")):
        raise ValueError(
            f"{name}: expected integer offsets of shape (n + 1,), got {array.dtype} {array.shape}"
        )
    if array.dtype != "int64" or not array.contiguous:
        offsets = place.library.cast(offsets, "int64")
        array = place.library.describe(offsets)
    host = np.asarray(place.library.to_numpy(offsets))
    _check_offsets(name, host, rows.view[1])
    view = rows.view, rows.dtype, 0, array.pointer, len(host) - 1
    return DeviceSets(view, host, (rows.owner, offsets))


def _check_offsets(name: str, offsets: Int64, rows: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0:
        raise ValueError(f"{name}: expected offsets that start at 0, got {offsets[:1].tolist()}")
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if falls.size > 0:
        raise ValueError(f"{name}: expected offsets that never fall, got one that does at {falls[0] + 1}")
    if offsets[-1] != rows:
        raise ValueError(
            f"{name}: expected offsets that end at the number of vectors, {rows}, got {offsets[-1]}"
        )


def _output(place: Place, shape: tuple[int, ...], dtype: str = "float32") -> tuple[Any, int]:
    array = place.empty(shape, dtype)
    return array, place.library.describe(array).pointer


def maxsim_matrix(queries: Any, docs: Any, normalize: bool) -> Any:
    """See whimbrel.maxsim_matrix, for ``(tokens, offsets)`` on a device."""
    place = _place(queries=queries, docs=docs)
    from . import _cuda

    q = _as_sets("queries", queries, place)
    d = _as_sets("docs", docs, place, q.view[0][2])
    scores, address = _output(place, (q.view[4], d.view[4]))
    size = _cuda.maxsim_workspace_bytes(q.view, d.view, WORKSPACE_BYTES)
    _space, space = _output(place, (size,), "uint8")
    _cuda.maxsim_matrix(q.view, d.view, normalize, address, space, size, place.device, place.stream)
    place.finish()
    return scores


def maxsim_pairs(queries: Any, docs: Any, candidates: Any, normalize: bool) -> Any:
    """See whimbrel.maxsim_pairs, for ``(tokens, offsets)`` and candidates on a device."""
    place = _place(queries=queries, docs=docs)
    from . import _cuda

    q = _as_sets("queries", queries, place)
    d = _as_sets("docs", docs, place, q.view[0][2])
    n, n_docs = q.view[4], d.view[4]
    if candidates is None:
        raise TypeError("candidates: expected an array (q, c) for sets on a device, got pairs or nothing")
    array, candidates = place.describe("candidates", candidates)
    if len(array.shape) != 2 or array.shape[0] != n or not array.dtype.startswith(("int", "uint")):
        raise ValueError(f"candidates: expected integers of shape ({n}, c), got {array.dtype} {array.shape}")
    candidates = place.library.cast(candidates, "int64")
    ids = np.asarray(place.library.to_numpy(candidates))
    if ids.size > 0 and not -1 <= ids.min() <= ids.max() < n_docs:
        raise IndexError(f"candidates: expected ids -1..{n_docs - 1}, got {ids.min()}..{ids.max()}")
    starts = place.library.integers((np.arange(n + 1) * array.shape[1]).tolist(), place.device)
    longest = int(np.diff(q.offsets).max(initial=0))
    lists = (
        place.library.describe(starts).pointer,
        place.library.describe(candidates).pointer,
        ids.size,
        longest,
    )
    scores, address = _output(place, array.shape)
    size = _cuda.maxsim_lists_workspace_bytes(q.view, d.view, lists, WORKSPACE_BYTES)
    _space, space = _output(place, (size,), "uint8")
    _cuda.maxsim_lists(q.view, d.view, lists, normalize, address, space, size, place.device, place.stream)
    place.finish()
    return scores


def encode(params: dict[str, Any], dim_out: int, name: str, sets: Any, dtype: str) -> Any:
    """See whimbrel.FdeEncoder.encode_documents, for ``(tokens, offsets)`` on a device.

    The random objects go to the device with every call that names other parameters than the one before.
    """
    if params["fill_empty"] == "mean":
        raise ValueError("fill_empty: expected True or False on a device, got 'mean'")
    place = _place(**{name: sets})
    from . import _cuda

    view = _as_sets(name, sets, place, params["dim"]).view
    as_choice("dtype", dtype, TYPES)
    encoder = _encoder(_cuda, params, place.device)
    size = min(encoder.workspace_bytes(view[4]), max(WORKSPACE_BYTES, encoder.workspace_bytes(1)))
    out, address = _output(place, (view[4], dim_out), dtype)
    _space, space = _output(place, (size,), "uint8")
    encoder.encode(view, name == "documents", address, dtype == "float16", space, size, place.stream)
    place.finish()
    return out


_last: tuple[Any, Any] = (None, None)


def _encoder(module: Any, params: dict[str, Any], device: int) -> Any:
    """Return the encoder of the last call if it fits, else a new one."""
    global _last  # one object, replaced as a whole
    key = {**params, "device": device}
    held, encoder = _last
    if held != key:
        sizes = {name: params[name] or 0 for name in ("d_proj", "d_final")}
        center = np.asarray(params["center"] or [], np.float32)
        encoder = module.FdeEncoder(**{**params, **sizes, "center": center}, device=device)
        _last = key, encoder
    return encoder
