"""Types of the compiled core; private. Arrays must have exactly these dtypes, in C order."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Float32: TypeAlias = NDArray[np.float32]
_Float64: TypeAlias = NDArray[np.float64]
_Int64: TypeAlias = NDArray[np.int64]
_Progress: TypeAlias = Callable[[int, int], object] | None

class _Params(TypedDict):
    metric: str
    M: int
    ef_construction: int
    ef_search: int
    seed: int
    batch_growth: float
    keep_pruned: bool

class _Stats(TypedDict):
    size: int
    max_level: int
    level_sizes: tuple[int, ...]
    degree_histogram: tuple[int, ...]
    mean_degree: float
    build_seconds: float

__version__: str
MAX_LID: float

class FormatError(ValueError): ...
class CancelledError(RuntimeError): ...

def available_isas() -> list[str]: ...
def active_isa() -> str: ...
def knn(
    data: _Float32, queries: _Float32, k: int, metric: str, threads: int, progress: _Progress
) -> tuple[_Int64, _Float32]: ...
def knn_self(
    data: _Float32, k: int, metric: str, threads: int, progress: _Progress
) -> tuple[_Int64, _Float32]: ...
def pairwise_distances(
    data: _Float32, queries: _Float32, metric: str, threads: int, progress: _Progress
) -> _Float32: ...
def estimate_lid(distances: _Float32, estimator: str) -> _Float64: ...
def distance_to_mean(data: _Float32, threads: int) -> _Float64: ...
def order_by_value(values: _Float64, descending: bool) -> _Int64: ...
def order_by_category(labels: _Int64, seed: int) -> _Int64: ...
def random_order(size: int, seed: int) -> _Int64: ...

class HnswIndex:
    def __init__(
        self,
        dim: int,
        metric: str,
        M: int,
        ef_construction: int,
        ef_search: int,
        seed: int,
        batch_growth: float,
        keep_pruned: bool,
    ) -> None: ...
    def add(
        self,
        vectors: _Float32,
        ids: _Int64 | None,
        order: _Int64 | None,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    # A new index with the parameters of this one, from exact candidates; linked on the CPU, or by what
    # _cuda.level_linker returned.
    def bulk_build(
        self,
        vectors: _Float32,
        ids: _Int64 | None,
        order: _Int64 | None,
        threads: int,
        progress: _Progress,
        linker: object,
    ) -> HnswIndex: ...
    # (ids, distances), and with `counted` also the distance computations and hops of each query.
    def search(
        self, queries: _Float32, k: int, ef_search: int, threads: int, counted: bool
    ) -> tuple[Any, ...]: ...
    def size(self) -> int: ...
    def dim(self) -> int: ...
    def params(self) -> _Params: ...
    def set_ef_search(self, ef_search: int) -> None: ...
    def ids(self) -> _Int64: ...
    def get_vectors(self, ids: _Int64) -> _Float32: ...
    def neighbors(self, id: int, level: int) -> _Int64: ...
    def stats(self) -> _Stats: ...
    def validate(self) -> tuple[int, int, int]: ...
    def memory_usage(self) -> int: ...
    def save_path(self, path: bytes) -> None: ...
    def save_file(self, file: Any) -> None: ...
    def dumps(self) -> bytes: ...
    @staticmethod
    def load_path(path: bytes) -> HnswIndex: ...
    @staticmethod
    def load_file(file: Any) -> HnswIndex: ...
    @staticmethod
    def loads(data: Buffer) -> HnswIndex: ...
