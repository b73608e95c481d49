"""How `HnswIndex.build` with exact candidates reaches the core, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from ._arrays import as_choice
from ._core import HnswIndex as CoreIndex
from ._device_exact import parse_device

BulkBuild: TypeAlias = Callable[..., CoreIndex]


def bulk_build(core: CoreIndex, candidates: str, device: str | None, copy: bool = True) -> BulkBuild | None:
    """Return what makes an index like `core` of vectors at once; None if it is to be filled by searching.

    Raises
    ------
    ValueError
        For other `candidates` than "graph" or "exact", "exact" for bytes, a device that is none, or one with
        "graph".
    CudaError
        If there is no device.
    """
    if as_choice("candidates", candidates, ("graph", "exact")) == "graph":
        if device not in (None, "cpu"):
            raise ValueError(f"device: expected None with candidates='graph', got {device!r}")
        return None
    if (dtype := core.params()["dtype"]) != "float32":
        raise ValueError(f"candidates: expected 'graph' with dtype {dtype}, got {candidates!r}")
    number = parse_device(device)
    linker: object = None
    if number is not None:
        from . import _cuda

        linker = _cuda.level_linker(number)
    return partial(core.bulk_build if copy else core.bulk_build_over, linker=linker)
