"""The parameters of `FdeEncoder`, checked, and the form in which the core takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import as_choice, as_float32, as_int
from ._ragged import host_array

__all__ = ["checked_parameters", "core_encoder"]

PROJECTIONS = ("identity", "sign", "count_sketch")
FILLS = ("token", "mean")
MODES = ("native", "google")
LARGEST = 2**32 - 1


def checked_parameters(
    dim: int,
    k_sim: int,
    r_reps: int,
    d_proj: int | None,
    d_final: int | None,
    fill_empty: bool | str,
    seed: int,
    mode: str,
    projection: str | None,
    center: ArrayLike | None,
) -> dict[str, Any]:
    """Return the arguments of the constructor, in its order, one form for each meaning.

    What depends on several of them is left to the core, but for a fill that the core calls otherwise.
    """
    if projection is None:
        projection = "identity" if d_proj is None else "count_sketch"
    as_choice("projection", projection, PROJECTIONS)
    dim, k_sim = as_int("dim", dim, 1, 2**24), as_int("k_sim", k_sim, 0, 24)
    r_reps = as_int("r_reps", r_reps, 1, 2**16)
    if isinstance(fill_empty, str):
        as_choice("fill_empty", fill_empty, FILLS)
    if as_choice("mode", mode, MODES) == "google" and fill_empty == "mean":
        raise ValueError("fill_empty: expected True or False in mode 'google', got 'mean'")
    offset = None if center is None else as_float32(host_array("center", center))
    if offset is not None and offset.shape != (dim,):
        raise ValueError(f"center: expected shape ({dim},), got {offset.shape}")
    return {
        "dim": dim,
        "k_sim": k_sim,
        "r_reps": r_reps,
        "d_proj": None if projection == "identity" else as_int("d_proj", d_proj, 1, LARGEST),
        "d_final": None if d_final is None else as_int("d_final", d_final, 1, LARGEST),
        "fill_empty": "mean" if fill_empty == "mean" else bool(fill_empty),
        "seed": as_int("seed", seed, 0, 2**64 - 1),
        "mode": mode,
        "projection": projection,
        "center": None if offset is None else offset.tolist(),
    }


def core_encoder(params: dict[str, Any]) -> _core.FdeEncoder:
    """Return the core's encoder of checked parameters: 0 and an empty array stand for None there."""
    center = np.array(params["center"] or [], np.float32)
    sizes = {name: params[name] or 0 for name in ("d_proj", "d_final")}
    fill = params["fill_empty"]
    return _core.FdeEncoder(
        **{**params, **sizes, "center": center, "fill_empty": bool(fill), "fill_mean": fill == "mean"}
    )
