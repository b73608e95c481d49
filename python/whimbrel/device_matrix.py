"""Vectors that stay on a CUDA device, and exact search in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._arrays import METRICS, as_choice, as_int, check_finite
from ._cuda_status import require_cuda
from ._device_arrays import Place, is_device_array, place_of
from ._device_exact import MAX_K, NATIVE_TYPES, Rows, as_host_rows, as_output, as_rows, parse_device, report
from ._progress import Progress, reporter

__all__ = ["DeviceKnnResult", "DeviceMatrix"]

SCOPES = ("all", "others", "earlier")
PRECISIONS = ("auto", "fast")
WORKSPACE_BYTES = 2**31
CHUNK_ROWS = 65536


class DeviceKnnResult(NamedTuple):
    """Neighbors of each query, nearest first, and how they were found.

    Attributes
    ----------
    ids : (q, k) int64
        -1 where there are fewer than `k`.
    distances : (q, k) float32
        +inf beside -1. A query on a device that is not finite has ids -1 and distances NaN.
    stats : (4,) int64
        Queries proven exact from candidates in half precision; queries scanned in full; queries that are
        not finite; candidates whose distance was computed.
    """

    ids: Any
    distances: Any
    stats: Any


class DeviceMatrix:
    """Vectors on a CUDA device, prepared once for any number of searches.

    Parameters
    ----------
    data : (n, d) array
        CuPy array or torch tensor on a device: used where it is, so it must not change while this object
        lives. numpy array: copied to `device`. float32, float16, bfloat16 and int8 are searched as they
        are; other real dtypes are converted to float32. Must be finite.
    metric : {"l2", "ip", "cosine"}
        As in `whimbrel.knn`.
    device : {None, "cuda", "cuda:<number>"}
        For numpy arrays.

    Raises
    ------
    ValueError, TypeError, CudaError
        As in `whimbrel.knn`.

    Notes
    -----
    Holds about ``2 * d + 4`` bytes a row beside `data` (``+ 8`` for cosine, and the copy of numpy data).
    Making one waits for the device; searching does not. Safe to use from several threads and streams.
    """

    def __init__(self, data: Any, metric: str = "l2", *, device: str | None = None) -> None:
        metric = as_choice("metric", metric, METRICS)
        number = parse_device(device)
        self._place: Place | None = None
        self._owner: Any = None
        if is_device_array(data):
            self._place = place = place_of({"data": data}, number)
            rows = as_rows("data", data, place, NATIVE_TYPES)
            self._owner = rows.owner
            from . import _cuda

            self._matrix = _cuda.DeviceMatrix(rows.view, rows.dtype, metric, place.device, place.stream)
        else:
            require_cuda()
            from . import _cuda

            self._matrix = _cuda.DeviceMatrix.upload(as_host_rows("data", data), metric, number or 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        _, n, d, _ = self._matrix.rows()[0]
        return n, d

    @property
    def metric(self) -> str:
        """The metric of the searches."""
        return self._matrix.metric()

    @property
    def device(self) -> int:
        """Number of the device."""
        return self._matrix.device()

    def memory_usage(self) -> int:
        """Return the bytes of device memory that this object owns."""
        return self._matrix.bytes()

    def __repr__(self) -> str:
        n, d = self.shape
        return f"DeviceMatrix({n} x {d}, metric={self.metric!r}, device='cuda:{self.device}')"

    def search(
        self,
        queries: Any = None,
        k: int = 10,
        *,
        scope: str = "all",
        precision: str = "auto",
        out: tuple[Any, Any] | None = None,
        progress: Progress = False,
    ) -> DeviceKnnResult:
        """Find the exact `k` nearest rows for each query.

        Parameters
        ----------
        queries : (q, d) array, optional
            On this device, or a numpy array. None: the rows of this matrix, each without itself.
        k : int
            1 to 1024.
        scope : {"all", "others", "earlier"}
            Without queries: which rows a row may find. "all" and "others" leave out itself, "earlier" leaves
            only those before it.
        precision : {"auto", "fast"}
            "fast" trusts candidates in half precision without proof. Distances are exact in either case.
        out : (ids, distances), optional
            For queries on a device: (q, k) int64 and float32 in C order, written to and returned.
        progress : bool or callable
            As in `whimbrel.knn`, for numpy queries.

        Returns
        -------
        DeviceKnnResult
            For queries on a device arrays of their kind, enqueued on their library's current stream; for
            numpy queries numpy arrays. Without queries of the kind of the data.
        """
        k = as_int("k", k, 1, MAX_K)
        scope = as_choice("scope", scope, SCOPES)
        certified = as_choice("precision", precision, PRECISIONS) == "auto"
        if queries is None:
            scope = "others" if scope == "all" else scope
        elif scope != "all":
            raise ValueError(f"scope: expected 'all' for queries of their own, got {scope!r}")
        if is_device_array(queries) or (queries is None and self._place is not None):
            return self._search_on_device(queries, k, scope, certified, out)
        if out is not None:
            raise ValueError("out: expected None for results in host memory")
        n, d = self.shape
        points = None
        if queries is not None:
            points = as_host_rows("queries", queries, d)
            check_finite("queries", points)
        n_queries = n if points is None else len(points)
        parts = []
        with reporter(progress, "neighbors") as callback:
            for first in range(0, max(n_queries, 1), CHUNK_ROWS):
                m = min(CHUNK_ROWS, n_queries - first)
                if points is None:
                    part = self._matrix.host_knn_self(m, k, certified, scope, first, WORKSPACE_BYTES)
                else:
                    chunk = points[first : first + m]
                    part = self._matrix.host_knn(chunk, k, certified, scope, 0, WORKSPACE_BYTES)
                parts.append(part)
                report(callback, first + m, n_queries)
        ids, distances, stats = zip(*parts, strict=True)
        total = np.sum(np.array(stats, np.int64), axis=0)
        return DeviceKnnResult(np.concatenate(ids), np.concatenate(distances), total)

    def _search_on_device(
        self, queries: Any, k: int, scope: str, certified: bool, out: tuple[Any, Any] | None
    ) -> DeviceKnnResult:
        if queries is None:
            assert self._place is not None
            place = Place(self._place.library, self.device)
            view, dtype = self._matrix.rows()
            rows = Rows(view, dtype, self._owner)
        else:
            place = place_of({"queries": queries}, self.device)
            rows = as_rows("queries", queries, place, NATIVE_TYPES, self.shape[1])
        ids_out, distances_out = out if out is not None else (None, None)
        shape = (rows.view[1], k)
        ids_at, ids = as_output("out[0]", ids_out, place, shape, "int64")
        distances_at, distances = as_output("out[1]", distances_out, place, shape, "float32")
        stats_at, stats = as_output("", None, place, (4,), "int64")
        size = self._matrix.workspace_bytes(shape[0], k, certified, scope, WORKSPACE_BYTES)
        work_at, _work = as_output("", None, place, (size,), "uint8")
        self._matrix.knn(
            rows.view, rows.dtype, k, certified, scope, 0, ids_at, distances_at, stats_at, work_at, size,
            place.stream,
        )  # fmt: skip
        place.finish()
        return DeviceKnnResult(ids, distances, stats)
