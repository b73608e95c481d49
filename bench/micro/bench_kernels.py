"""Single calls through the Python face: exact search of several shapes, graph search, LID.

The instruction set is chosen once per process: run again with WHIMBREL_ISA=avx2 or baseline to compare.
Where the work is inner products, `extra_info` has GFLOP/s (2 q n d) and GB/s of base rows read, beside
recall.

  pytest bench/micro/bench_kernels.py --benchmark-json=FILE
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import whimbrel as wb

from bench import data

DIMENSIONS = (32, 128, 384, 784, 1536)
N = 20_000
K = 10


@cache
def points(n: int, dim: int, seed: int) -> data.Float32:
    """Gaussian rows."""
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


def note(benchmark: Any, n: int, q: int, dim: int, **more: float) -> None:
    """Record what was measured."""
    benchmark.extra_info.update(isa=wb.active_isa(), n=n, q=q, d=dim, **more)


def note_rates(benchmark: Any, n: int, q: int, dim: int) -> None:
    """Record GFLOP/s, and for a single query GB/s; nothing if it was not timed."""
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["gflops"] = round(2e-9 * q * n * dim / seconds, 2)
        if q == 1:
            benchmark.extra_info["gigabytes_per_second"] = round(4e-9 * n * dim / seconds, 2)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("q", [1, 256])
def test_knn(benchmark: Any, q: int, dim: int, metric: str) -> None:
    base, queries = points(N, dim, 0), points(q, dim, 1)
    found = benchmark(wb.knn, base, queries, K, metric, threads=1)
    assert found.ids.shape == (q, K)
    note(benchmark, N, q, dim, recall=1.0)
    note_rates(benchmark, N, q, dim)


@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_knn_selection(benchmark: Any, k: int) -> None:
    """Few dimensions, so that the time is that of keeping the k nearest."""
    base, queries = points(N, 8, 0), points(256, 8, 1)
    benchmark(wb.knn, base, queries, k, threads=1)
    note(benchmark, N, 256, 8, recall=1.0, k=k)


@pytest.mark.parametrize("dim", [128, 784])
def test_knn_of_all_rows(benchmark: Any, dim: int) -> None:
    """The self-join that LID needs."""
    base = points(4_000, dim, 0)
    benchmark(wb.knn, base, k=100, threads=1)
    note(benchmark, len(base), len(base), dim, recall=1.0)
    note_rates(benchmark, len(base), len(base), dim)


def test_lid_of_given_neighbors(benchmark: Any) -> None:
    base = points(4_000, 16, 0)
    neighbors = wb.knn(base, k=100)
    benchmark(wb.estimate_lid, neighbors=neighbors)
    note(benchmark, len(base), len(base), 16)


@cache
def graph(dim: int) -> tuple[wb.HnswIndex, data.Float32, data.Int64]:
    """Index, queries and their true neighbors, on rows of latent dimension 16."""
    basis = points(16, dim, 2)
    base, queries = points(N, 16, 0) @ basis, points(200, 16, 1) @ basis
    return wb.HnswIndex.build(base), queries, wb.knn(base, queries, K).ids


@pytest.mark.parametrize("ef_search", [10, 64, 256])
@pytest.mark.parametrize("dim", [32, 128, 784])
@pytest.mark.parametrize("q", [1, 200])
def test_graph_search(benchmark: Any, q: int, dim: int, ef_search: int) -> None:
    """One query by itself, or a batch, on one thread."""
    index, queries, truth = graph(dim)
    asked = queries[0] if q == 1 else queries
    benchmark(index.search, asked, K, ef_search=ef_search, threads=1)
    found, counts = index.search_with_counts(queries, K, ef_search=ef_search)
    recall = round(data.recall(found.ids, truth), 4)
    note(benchmark, N, q, dim, recall=recall, ef_search=ef_search, distances=float(np.mean(counts.distances)))


@pytest.mark.parametrize("dim", [32, 384])
def test_graph_build(benchmark: Any, dim: int) -> None:
    base = points(2_000, dim, 0)
    index = benchmark(wb.HnswIndex.build, base, threads=1)
    assert index.validate().dead_edges == 0
    queries = points(100, dim, 1)
    recall = data.recall(index.search(queries, K).ids, wb.knn(base, queries, K).ids)
    note(benchmark, len(base), 0, dim, recall=round(recall, 4))
