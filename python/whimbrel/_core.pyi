"""Types of the compiled core; private. Arrays must have these dtypes, in C order but for borrowed rows."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Float32: TypeAlias = NDArray[np.float32]
_Float64: TypeAlias = NDArray[np.float64]
_Int64: TypeAlias = NDArray[np.int64]
_Vectors: TypeAlias = _Float32 | NDArray[np.int8] | NDArray[np.uint8]
_UInt8: TypeAlias = NDArray[np.uint8]
_UInt32: TypeAlias = NDArray[np.uint32]
_Progress: TypeAlias = Callable[[int, int], object] | None

class _Params(TypedDict):
    metric: str
    M: int
    ef_construction: int
    ef_search: int
    seed: int
    batch_growth: float
    keep_pruned: bool
    codec: str
    rerank: str
    dtype: str

class _MultiVectorParams(TypedDict):
    dim: int
    encoding_dim: int
    store: str
    M: int
    ef_construction: int
    seed: int

class _Stats(TypedDict):
    size: int
    removed: int
    max_level: int
    level_sizes: tuple[int, ...]
    degree_histogram: tuple[int, ...]
    mean_degree: float
    code_dim: int
    projected: bool
    code_bits: int
    borrowed_bytes: int
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
def maxsim_matrix(
    queries: _Float32,
    query_offsets: _Int64,
    docs: _Float32,
    doc_offsets: _Int64,
    normalize: bool,
    threads: int,
) -> _Float32: ...
def maxsim_lists(
    queries: _Float32,
    query_offsets: _Int64,
    docs: _Float32,
    doc_offsets: _Int64,
    list_offsets: _Int64,
    ids: _Int64,
    normalize: bool,
    threads: int,
) -> _Float32: ...
def check_ragged(name: str, tokens: _Float32, offsets: _Int64, threads: int) -> None: ...
def ball_carving(
    queries: _Float32, offsets: _Int64, threshold: float, threads: int
) -> tuple[_Float32, _Int64]: ...

class TokenStore:
    def __init__(self, dim: int, dtype: str) -> None: ...
    def add(self, tokens: _Float32, offsets: _Int64, threads: int) -> None: ...
    def get(self, doc: int) -> _Float32: ...
    def maxsim_matrix(
        self, queries: _Float32, query_offsets: _Int64, normalize: bool, threads: int
    ) -> _Float32: ...
    def maxsim_lists(
        self,
        queries: _Float32,
        query_offsets: _Int64,
        list_offsets: _Int64,
        ids: _Int64,
        normalize: bool,
        threads: int,
    ) -> _Float32: ...
    def dim(self) -> int: ...
    def dtype(self) -> str: ...
    def size(self) -> int: ...
    def n_tokens(self) -> int: ...
    def memory_usage(self) -> int: ...

class MultiVectorIndex:
    def __init__(
        self, dim: int, encoding_dim: int, store: str, M: int, ef_construction: int, seed: int
    ) -> None: ...
    def add(
        self, encodings: _Float32, tokens: _Float32, offsets: _Int64, threads: int, progress: _Progress
    ) -> None: ...
    def search(
        self,
        encodings: _Float32,
        tokens: _Float32,
        offsets: _Int64,
        k: int,
        candidates: int,
        ef_search: int,
        allowed: NDArray[np.uint8] | None,
        threads: int,
    ) -> tuple[_Int64, _Float32]: ...
    def remove(self, ids: _Int64) -> None: ...
    def compress(self, seed: int, threads: int, progress: _Progress) -> None: ...
    def compressed(self) -> bool: ...
    def params(self) -> _MultiVectorParams: ...
    def size(self) -> int: ...
    def n_alive(self) -> int: ...
    def removed(self) -> NDArray[np.uint8]: ...
    def n_tokens(self) -> int: ...
    def memory_usage(self) -> int: ...
    def save(self, path: bytes, metadata: bytes) -> None: ...
    @staticmethod
    def load(path: bytes, mmap: bool) -> tuple[MultiVectorIndex, bytes]: ...

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
        fill_mean: bool,
    ) -> None: ...
    # An array (n, dim_out); for int8 a pair of it and the scales of its rows.
    def encode(
        self,
        tokens: _Float32,
        offsets: _Int64,
        documents: bool,
        dtype: str,
        threads: int,
        progress: _Progress,
    ) -> Any: ...
    def partitions(self, tokens: _Float32, threads: int) -> NDArray[np.uint32]: ...
    def dim_out(self) -> int: ...
    def d_proj(self) -> int: ...
    def fingerprint(self) -> str: ...

class LemurEncoder:
    def __init__(
        self,
        sample: _Float32,
        width: int,
        ridge: float,
        seed: int,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def encode(
        self, tokens: _Float32, offsets: _Int64, documents: bool, threads: int, progress: _Progress
    ) -> _Float32: ...
    def fingerprint(self) -> str: ...

class IdFilter:
    def __init__(self, ids: _Int64) -> None: ...
    @staticmethod
    def from_places(allowed: NDArray[np.uint8]) -> IdFilter: ...

class PerRow:
    def __init__(
        self, levels: _UInt8 | None, ef_construction: _UInt32 | None, links: _UInt32 | None
    ) -> None: ...

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
        codec: str,
        rerank: str,
        dtype: str,
    ) -> None: ...
    def add(
        self,
        vectors: _Vectors,
        ids: _Int64 | None,
        order: _Int64 | None,
        per_row: PerRow,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    # To an empty index, which reads the vectors where they are and keeps them alive.
    def add_over(
        self,
        vectors: _Float32,
        ids: _Int64 | None,
        order: _Int64 | None,
        per_row: PerRow,
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
        per_row: PerRow,
        threads: int,
        progress: _Progress,
        linker: object,
    ) -> HnswIndex: ...
    def bulk_build_over(
        self,
        vectors: _Float32,
        ids: _Int64 | None,
        order: _Int64 | None,
        per_row: PerRow,
        threads: int,
        progress: _Progress,
        linker: object,
    ) -> HnswIndex: ...
    def remove(self, ids: _Int64, threads: int) -> None: ...
    def update(self, ids: _Int64, vectors: _Vectors, threads: int, progress: _Progress) -> None: ...
    def compact(self, threads: int) -> None: ...
    def refine(self, threads: int, progress: _Progress) -> None: ...
    # (ids, distances), and with `counted` also the distance computations and hops of each query.
    def search(
        self,
        queries: _Vectors,
        k: int,
        ef_search: int,
        efs: _UInt32 | None,
        filters: list[IdFilter | None],
        exact: bool,
        threads: int,
        counted: bool,
    ) -> tuple[Any, ...]: ...
    # (offsets, ids, distances)
    def range_search(
        self,
        queries: _Vectors,
        radius: float,
        ef_search: int,
        filters: list[IdFilter | None],
        exact: bool,
        threads: int,
    ) -> tuple[_Int64, _Int64, _Float32]: ...
    # (ids, neighbors, distances)
    def knn_graph(
        self,
        k: int,
        ef_search: int,
        filters: list[IdFilter | None],
        exact: bool,
        threads: int,
        progress: _Progress,
    ) -> tuple[_Int64, _Int64, _Float32]: ...
    # (recall, k, ef_search, measured), and a list of them
    def tune(
        self, queries: _Vectors | None, recall: float, k: int, threads: int
    ) -> tuple[float, int, int, float]: ...
    def tuned(self) -> list[tuple[float, int, int, float]]: ...
    def tuned_ef(self, recall: float, k: int) -> int: ...
    def size(self) -> int: ...
    def dim(self) -> int: ...
    def params(self) -> _Params: ...
    def set_ef_search(self, ef_search: int) -> None: ...
    def ids(self) -> _Int64: ...
    def get_vectors(self, ids: _Int64) -> _Vectors: ...
    def neighbors(self, id: int, level: int) -> _Int64: ...
    def stats(self) -> _Stats: ...
    def validate(self) -> tuple[int, int, int]: ...
    def memory_usage(self) -> int: ...
    def to_hnswlib(self, path: bytes) -> None: ...
    def save_path(self, path: bytes, vectors: bool = True) -> None: ...
    def save_file(self, file: Any) -> None: ...
    def dumps(self) -> bytes: ...
    @staticmethod
    def load_path(
        path: bytes, mmap: bool = False, verify: bool = False, vectors: _Float32 | None = None
    ) -> HnswIndex: ...
    @staticmethod
    def from_hnswlib(path: bytes, dim: int, metric: str) -> HnswIndex: ...
    @staticmethod
    def load_file(file: Any) -> HnswIndex: ...
    @staticmethod
    def loads(data: Buffer) -> HnswIndex: ...

class _CurParams(TypedDict):
    storage: str
    center: bool
    intercept: bool
    rank: int

class CurIndex:
    @staticmethod
    def fit(
        anchor_scores: _Float32,
        first_stage: _Float32 | None,
        storage: str,
        center: bool,
        intercept: bool,
        rank: int,
        threads: int,
        progress: _Progress,
    ) -> CurIndex: ...
    def size(self) -> int: ...
    def n_removed(self) -> int: ...
    def n_queries(self) -> int: ...
    def dim(self) -> int: ...
    def has_first_stage(self) -> bool: ...
    def params(self) -> _CurParams: ...
    def memory_usage(self) -> int: ...
    def item_means(self) -> _Float32: ...
    def item_vectors(self) -> _Float32: ...
    def singular_values(self, threads: int) -> _Float64: ...
    def approximate(
        self, item_ids: _Int64, scores: _Float32, first_stage: _Float32 | None, mu: float, threads: int
    ) -> _Float32: ...
    def retrieve(
        self,
        item_ids: _Int64,
        scores: _Float32,
        first_stage: _Float32 | None,
        k: int,
        exclude_scored: bool,
        mu: float,
        threads: int,
        find: Callable[[_Float32, int], tuple[_Int64, _Float32]] | None,
        largest_norm: float,
    ) -> tuple[_Int64, _Float32]: ...
    def select_anchors(
        self, count: int, rule: str, seed: int, threads: int, progress: _Progress, passes: object
    ) -> _Int64: ...
    def add_items(self, scores: _Float32, first_stage: _Float32 | None) -> None: ...
    def add_queries(self, scores: _Float32, first_stage: _Float32 | None) -> None: ...
    def remove(self, item_ids: _Int64) -> None: ...
    def save_path(self, path: bytes) -> None: ...
    def save_file(self, file: Any) -> None: ...
    def dumps(self) -> bytes: ...
    @staticmethod
    def load_path(path: bytes) -> CurIndex: ...
    @staticmethod
    def load_file(file: Any) -> CurIndex: ...
    @staticmethod
    def loads(data: Buffer) -> CurIndex: ...

class CurSearch:
    def __init__(
        self,
        index: CurIndex,
        k: int,
        budget: int,
        rounds: int,
        split: float,
        rule: str,
        temperature: float,
        kappa: float,
        mu: float,
        seed: int,
        threads: int,
        start: _Int64,
        first_stage: _Float32 | None,
    ) -> None: ...
    def next_items(self) -> _Int64: ...
    def next_items_among(self, candidates: _Int64) -> _Int64: ...
    def query_vector(self) -> _Float32: ...
    def observe(self, scores: _Float32) -> None: ...
    def top_k(self) -> tuple[_Int64, _Float32]: ...
    def ledger(self) -> tuple[_Int64, _Float32]: ...
    def calls(self) -> int: ...
    def estimated_recall(self, candidates: _Int64) -> float: ...
    def loo_error(self) -> float: ...
    def mu(self) -> float: ...
    def algebra_seconds(self) -> float: ...
