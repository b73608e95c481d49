"""Approximate nearest neighbors in native code, with insertion ordered by local intrinsic dimensionality."""

try:
    from ._core import CancelledError, FormatError, __version__, active_isa, available_isas
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._core":
        raise
    raise ImportError(
        "the compiled module whimbrel._core is missing; build and install the package with `pip install .` "
        "(or `pip install -e .`), and do not import it from the source tree"
    ) from error

from . import cuda
from ._cuda_status import CudaError
from .ball_carving import ball_carving
from .cur import CurHits, CurIndex
from .cur_diagnostics import CurDiagnostics, cur_diagnostics
from .cur_retriever import CurRetriever
from .cur_rounds import CurSearch, CurSearchResult
from .cur_search import cur_search
from .exact import KnnResult, knn, pairwise_distances
from .fde import FdeEncoder
from .fde_quality import FdeDiagnostics
from .hnsw import HnswIndex
from .hnsw_iterator import SearchIterator
from .hnsw_results import (
    HnswStats,
    HnswValidation,
    KnnGraph,
    RangeResult,
    SearchCounts,
    SearchResult,
    TunedEf,
)
from .id_filter import IdFilter
from .lemur import LemurEncoder
from .library import get_cmake_dir, get_include
from .lid import distance_to_mean, estimate_lid
from .lid_report import LidReport, lid_report
from .maxsim import maxsim, maxsim_matrix, maxsim_pairs
from .multi_vector_index import MultiVectorIndex
from .multi_vector_results import MultiVectorResult, TunedSearch
from .order import ORDERS, insertion_order, named_order
from .per_row import PerRow
from .scorers import AsyncItemScorer, ItemScorer, PairScorer
from .set_encoder import SetEncoder
from .token_store import TokenStore
from .vector_files import read_vectors, write_vectors

__all__ = [
    "ORDERS",
    "AsyncItemScorer",
    "CancelledError",
    "CudaError",
    "CurDiagnostics",
    "CurHits",
    "CurIndex",
    "CurRetriever",
    "CurSearch",
    "CurSearchResult",
    "FdeDiagnostics",
    "FdeEncoder",
    "FormatError",
    "HnswIndex",
    "HnswStats",
    "HnswValidation",
    "IdFilter",
    "ItemScorer",
    "KnnGraph",
    "KnnResult",
    "LemurEncoder",
    "LidReport",
    "MultiVectorIndex",
    "MultiVectorResult",
    "PairScorer",
    "PerRow",
    "RangeResult",
    "SearchCounts",
    "SearchIterator",
    "SearchResult",
    "SetEncoder",
    "TokenStore",
    "TunedEf",
    "TunedSearch",
    "__version__",
    "active_isa",
    "available_isas",
    "ball_carving",
    "cuda",
    "cur_diagnostics",
    "cur_search",
    "distance_to_mean",
    "estimate_lid",
    "get_cmake_dir",
    "get_include",
    "insertion_order",
    "knn",
    "lid_report",
    "maxsim",
    "maxsim_matrix",
    "maxsim_pairs",
    "named_order",
    "pairwise_distances",
    "read_vectors",
    "write_vectors",
]


def __dir__() -> list[str]:
    return __all__
