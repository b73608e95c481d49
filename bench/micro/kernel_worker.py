"""What bench_kernels.py calls in a process of each instruction set, which is chosen once per process."""

from __future__ import annotations

from functools import cache

import numpy as np
import whimbrel as wb

from bench import neighbors

N = 20_000


@cache
def points(n: int, dim: int, seed: int, dtype: str = "float32") -> np.ndarray:
    """Gaussian rows; of bytes, their absolute values in steps of 1/32."""
    rows = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return np.minimum(np.abs(rows) * 32, 255).astype(dtype) if dtype == "uint8" else rows.astype(dtype)


class Kernels:
    """Calls on one thread. Each repeats itself, so that the way to this process does not count."""

    def knn(self, q: int, dim: int, metric: str, k: int, dtype: str, times: int) -> None:
        """Exact search of N rows."""
        base, queries = points(N, dim, 0, dtype), points(q, dim, 1, dtype)
        for _ in range(times):
            wb.knn(base, queries, k, metric, threads=1)

    def recall(self, q: int, dim: int, metric: str, k: int, dtype: str) -> float:
        """Against NumPy in float64."""
        base, queries = (points(n, dim, s, dtype).astype(np.float64) for n, s in ((N, 0), (q, 1)))
        products = queries @ base.T
        scores = -products
        if metric == "l2":
            scores = np.einsum("nd,nd->n", base, base) - 2 * products
        truth = np.argsort(scores, axis=1, kind="stable")[:, :k]
        found = wb.knn(points(N, dim, 0, dtype), points(q, dim, 1, dtype), k, metric, threads=1).ids
        return neighbors.recall(found, truth)

    def product(self, q: int, dim: int, times: int) -> None:
        """The matrix product of the same shapes: what arithmetic allows."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        base, queries = points(N, dim, 0), points(q, dim, 1)
        with threadpool_limits(1):
            for _ in range(times):
                np.matmul(queries, base.T)

    def copy(self, n_bytes: int, times: int) -> None:
        """A copy loop: what memory allows, or the caches where it is small."""
        source = points(n_bytes // 1024, 256, 0)
        target = np.empty_like(source)
        for _ in range(times):
            np.copyto(target, source)
