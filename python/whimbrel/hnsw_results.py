"""What an `HnswIndex` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ._arrays import Float32, Int64

__all__ = [
    "HnswStats",
    "HnswValidation",
    "KnnGraph",
    "RangeResult",
    "SearchCounts",
    "SearchResult",
    "TunedEf",
]


class SearchResult(NamedTuple):
    """Hits of each query, nearest first; without the first axis for a single query.

    Attributes
    ----------
    ids : (q, k) int64
        The caller's ids; -1 where fewer than `k` points were reached.
    distances : (q, k) float32
        In the units of the index's metric, smaller is nearer; +inf beside -1. Equal distances are ordered
        by id.
    """

    ids: Int64
    distances: Float32


class SearchCounts(NamedTuple):
    """What each query cost, the same on every machine; numbers instead of arrays for a single query.

    Attributes
    ----------
    distances : (q,) int64
        Distance computations on all levels.
    hops : (q,) int64
        Nodes expanded on level 0.
    """

    distances: Int64
    hops: Int64


class RangeResult(NamedTuple):
    """Hits of each query one after another, nearest first; for a single query `offsets` is (2,).

    Attributes
    ----------
    offsets : (q + 1,) int64
        The hits of query i are those from ``offsets[i]`` to ``offsets[i + 1]``.
    ids : (n,) int64
        The caller's ids.
    distances : (n,) float32
        All below the radius. Equal distances of a query are ordered by id.
    """

    offsets: Int64
    ids: Int64
    distances: Float32


class KnnGraph(NamedTuple):
    """The nearest other points of every point, nearest first.

    Attributes
    ----------
    ids : (n,) int64
        The points, as in `HnswIndex.ids`.
    neighbors : (n, k) int64
        Ids; -1 where fewer than `k` others were found.
    distances : (n, k) float32
        In the units of the index's metric; +inf beside -1.
    """

    ids: Int64
    neighbors: Int64
    distances: Float32


class TunedEf(NamedTuple):
    """The beam width that `HnswIndex.tune` found enough.

    Attributes
    ----------
    recall, k
        What was asked for.
    ef_search : int
        The smallest beam, within a sixteenth of it, that reached the recall.
    measured : float
        The recall that it reached on the queries it was measured with.
    """

    recall: float
    k: int
    ef_search: int
    measured: float


class HnswValidation(NamedTuple):
    """What `HnswIndex.validate` counted; all of it is on level 0.

    Attributes
    ----------
    unreachable : int
        Points that no path from the entry point reaches: no search finds them.
    no_in_edges : int
        Points that no edge leads to.
    dead_edges : int
        Edges to a node that is not there, to the node itself, or twice to the same. Always 0 in a sound
        index.
    """

    unreachable: int
    no_in_edges: int
    dead_edges: int


@dataclass(frozen=True)
class HnswStats:
    """Facts about an index.

    Attributes
    ----------
    size, dim : int
        Vectors, and their dimension.
    removed : int
        Rows of removed points that `HnswIndex.compact` would take back; nothing else here but the memory
        counts them.
    max_level : int
        Highest level with a node.
    level_sizes : tuple of int
        Nodes on level 0, 1, ...
    degree_histogram : tuple of int
        Level-0 nodes with 0, 1, ..., 2 M outgoing edges.
    mean_degree : float
        Mean number of outgoing edges on level 0.
    memory_bytes : int
        Vectors, codes, graph and ids in memory.
    borrowed_bytes : int
        Vectors and codes that stay in a mapped file, of which the system decides how much is in memory, or in
        the caller's array.
    code_dim : int
        Dimension of the codes that searches run on; 0 if they run on the vectors.
    projected : bool
        Whether codes are of a projection of the vectors.
    code_bits : int
        Of a code for each of its dimensions, 8 or 4; 0 if there are none.
    isa : str
        Instruction set of the distance kernels on this machine.
    build_seconds : float
        Wall time spent in `add` since construction or load, without the computation of an order.
    order : str or None
        Name of the order last used, "permutation" for one of the caller's; None if nothing was added since
        load.
    """

    size: int
    dim: int
    removed: int
    max_level: int
    level_sizes: tuple[int, ...]
    degree_histogram: tuple[int, ...]
    mean_degree: float
    memory_bytes: int
    borrowed_bytes: int
    code_dim: int
    projected: bool
    code_bits: int
    isa: str
    build_seconds: float
    order: str | None
