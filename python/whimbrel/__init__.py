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
from .exact import KnnResult, knn, pairwise_distances
from .hnsw import HnswIndex
from .hnsw_results import HnswStats, HnswValidation, SearchCounts, SearchResult
from .lid import distance_to_mean, estimate_lid
from .lid_report import LidReport, lid_report
from .order import ORDERS, insertion_order, named_order
from .vector_files import read_vectors, write_vectors

__all__ = [
    "ORDERS",
    "CancelledError",
    "CudaError",
    "FormatError",
    "HnswIndex",
    "HnswStats",
    "HnswValidation",
    "KnnResult",
    "LidReport",
    "SearchCounts",
    "SearchResult",
    "__version__",
    "active_isa",
    "available_isas",
    "cuda",
    "distance_to_mean",
    "estimate_lid",
    "insertion_order",
    "knn",
    "lid_report",
    "named_order",
    "pairwise_distances",
    "read_vectors",
    "write_vectors",
]


def __dir__() -> list[str]:
    return __all__
