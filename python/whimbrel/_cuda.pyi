"""Types of the CUDA module; private. Addresses, shapes and devices must be right."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

_Int64: TypeAlias = NDArray[np.int64]
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

_Sets: TypeAlias = tuple[_Rows, str, int, int, int]
_Lists: TypeAlias = tuple[int, int, int, int]
_Found: TypeAlias = tuple[_Int64, _Float32, list[int]]

def device_count() -> tuple[int, str, int]: ...
def versions() -> tuple[int, int]: ...
def device_properties(device: int) -> _Properties: ...
def synchronize(stream: int, device: int) -> None: ...
def normalize(rows: _Rows, out: int, device: int, stream: int) -> None: ...
def host_normalize(rows: _Float32, device: int) -> _Float32: ...
def pairwise_distances(
    data: _Rows, queries: _Rows, metric: str, distances: int, device: int, stream: int
) -> None: ...
def host_pairwise_distances(
    data: _Float32, queries: _Float32, metric: str, device: int, progress: _Progress
) -> _Float32: ...
def estimate_lid(
    distances: _Rows, squared: bool, estimator: str, out: int, device: int, stream: int
) -> None: ...
def level_linker(device: int) -> object: ...

class DeviceMatrix:
    def __init__(self, rows: _Rows, dtype: str, metric: str, device: int, stream: int) -> None: ...
    @staticmethod
    def upload(rows: NDArray[Any], metric: str, device: int) -> DeviceMatrix: ...
    def rows(self) -> tuple[_Rows, str]: ...
    def metric(self) -> str: ...
    def device(self) -> int: ...
    def bytes(self) -> int: ...
    def workspace_bytes(self, n_queries: int, k: int, certified: bool, scope: str, limit: int) -> int: ...
    def knn(
        self,
        queries: _Rows,
        dtype: str,
        k: int,
        certified: bool,
        scope: str,
        first_row: int,
        ids: int,
        distances: int,
        stats: int,
        workspace: int,
        workspace_bytes: int,
        stream: int,
    ) -> None: ...
    def host_knn(
        self,
        queries: NDArray[Any],
        k: int,
        certified: bool,
        scope: str,
        first_row: int,
        workspace_limit: int,
    ) -> _Found: ...
    def host_knn_self(
        self, n_rows: int, k: int, certified: bool, scope: str, first_row: int, workspace_limit: int
    ) -> _Found: ...

def greedy_passes(device: int) -> object: ...
def maxsim_workspace_bytes(queries: _Sets, docs: _Sets, limit: int) -> int: ...
def maxsim_lists_workspace_bytes(queries: _Sets, docs: _Sets, lists: _Lists, limit: int) -> int: ...
def maxsim_matrix(
    queries: _Sets,
    docs: _Sets,
    normalize: bool,
    scores: int,
    workspace: int,
    workspace_bytes: int,
    device: int,
    stream: int,
) -> None: ...
def maxsim_lists(
    queries: _Sets,
    docs: _Sets,
    lists: _Lists,
    normalize: bool,
    scores: int,
    workspace: int,
    workspace_bytes: int,
    device: int,
    stream: int,
) -> None: ...

class FdeEncoder:
    def __init__(
        self,
        dim: int,
        k_sim: int,
        r_reps: int,
        projection: str,
        d_proj: int,
        d_final: int,
        fill_empty: bool,
        seed: int,
        mode: str,
        center: _Float32,
        device: int,
    ) -> None: ...
    def workspace_bytes(self, n_sets: int) -> int: ...
    def encode(
        self,
        sets: _Sets,
        documents: bool,
        out: int,
        half: bool,
        workspace: int,
        workspace_bytes: int,
        stream: int,
    ) -> None: ...
