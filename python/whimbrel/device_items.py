"""The items of a `CurIndex` on a CUDA device, where the best ones of many queries are found."""

from __future__ import annotations

import numpy as np

from ._arrays import Float32, Int64
from .cur_base import CurBase
from .device_matrix import DeviceMatrix

__all__ = ["DeviceItems"]


class DeviceItems:
    """Items of an index on a CUDA device, for `CurIndex.retrieve`.

    Parameters
    ----------
    cur : CurIndex
        Made anew when items or anchor queries were added to it; not when items were removed.
    device : {"cuda", "cuda:<number>"}
        Where.

    Raises
    ------
    ValueError, CudaError
        As in `DeviceMatrix`.

    Notes
    -----
    Proposes the items of the highest inner products; `retrieve` scores them and proves that there are no
    better ones, or looks at all items of that query itself. Results have the bits of the CPU.
    """

    def __init__(self, cur: CurBase, *, device: str = "cuda") -> None:
        vectors = cur.item_vectors()
        self._shape = self._shape_of(cur)
        self._cur = cur
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        self._largest_norm = float(np.sqrt(squares.max(initial=0.0))) * (1 + 1e-9)
        self._matrix = DeviceMatrix(vectors, "ip", device=device)

    @staticmethod
    def _shape_of(cur: CurBase) -> tuple[int, int, int]:
        return len(cur), cur.n_queries, cur.dim

    def __repr__(self) -> str:
        return f"DeviceItems({self._shape[0]} items, device='cuda:{self._matrix.device}')"

    def memory_usage(self) -> int:
        """Return the bytes of device memory that this object owns."""
        return self._matrix.memory_usage()

    def largest_norm(self, cur: CurBase) -> float:
        """Return a bound of the norm of the items' vectors.

        Raises
        ------
        ValueError
            If this was made of another index, or that has grown since.
        """
        if cur is not self._cur or self._shape != self._shape_of(cur):
            raise ValueError(f"items: expected the items of this index as it is, got {self!r}")
        return self._largest_norm

    def find(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Return the `m` items of the largest inner products with each query, and these."""
        found = self._matrix.search(queries, m)
        return found.ids, np.negative(found.distances)
