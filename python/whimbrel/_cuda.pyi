"""Types of the CUDA module; private. Addresses, shapes and devices must be right."""

from collections.abc import Callable
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

_Float32: TypeAlias = NDArray[np.float32]
_Progress: TypeAlias = Callable[[int, int], object] | None
# (address, rows, columns, elements between rows)
_Rows: TypeAlias = tuple[int, int, int, int]

class _Properties(TypedDict):
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    free_bytes: int

def device_count() -> tuple[int, str, int]: ...
def versions() -> tuple[int, int]: ...
def device_properties(device: int) -> _Properties: ...
def synchronize(stream: int, device: int) -> None: ...
def normalize(rows: _Rows, out: int, device: int, stream: int) -> None: ...
def pairwise_distances(
    data: _Rows, queries: _Rows, metric: str, distances: int, device: int, stream: int
) -> None: ...
def host_pairwise_distances(
    data: _Float32, queries: _Float32, metric: str, device: int, progress: _Progress
) -> _Float32: ...
