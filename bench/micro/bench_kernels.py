"""Single calls through the Python face: exact search of several shapes, graph search, LID.

Exact search runs on each instruction set of the machine, in a process of its own. Where the work is inner
products, `extra_info` has GFLOP/s (2 q n d) and, for one query, GB/s of base rows read, beside what the
same run measured as limits: a matrix product of the same shapes by NumPy, and a copy loop (bytes read and
written).

  pytest bench/micro/bench_kernels.py --benchmark-json=FILE
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import whimbrel as wb

from bench import harness, neighbors
from bench.dataset import Float32, Int64
from bench.micro.kernel_worker import Kernels, N, points
from bench.worker import QUIET, Worker

DIMENSIONS = (32, 128, 384, 784, 1536)
K = 10
LEAST_SECONDS = 0.02  # of one round, beside which the way to another process is nothing
LARGE = 256 << 20  # larger than the caches


class Bench:
    """Times a call in a worker and holds it against the limits of the machine."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.limits: dict[tuple[Any, ...], float] = {}

    def worker(self, isa: str) -> Worker:
        """One process per instruction set."""
        if isa not in self.workers:
            self.workers[isa] = Worker(isa, Kernels, environment={**QUIET, "WHIMBREL_ISA": isa})
        return self.workers[isa]

    def gigabytes(self, n_bytes: int) -> float:
        """GB/s of a copy loop, read and written."""
        return 2e-9 * n_bytes / self._limit("copy", n_bytes)

    def gigaflops(self, q: int, dim: int) -> float:
        """GFLOP/s of a matrix product of these shapes."""
        return 2e-9 * q * N * dim / self._limit("product", q, dim)

    def _limit(self, method: str, *args: int) -> float:
        """Seconds of one call, the best of some: measured once per run."""
        key = (method, *args)
        if key not in self.limits:
            worker = self.worker(wb.active_isa())
            worker.call(method, *args, 1)
            times = [harness.seconds(lambda: worker.call(method, *args, 10)) / 10 for _ in range(5)]
            self.limits[key] = min(times)
        return self.limits[key]

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers.values():
            worker.close()


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def note(benchmark: Any, n: int, q: int, dim: int, **more: Any) -> None:
    """Record what was measured."""
    benchmark.extra_info.update({"isa": wb.active_isa(), "n": n, "q": q, "d": dim, **more})


def note_rates(benchmark: Any, bench: Bench, times: int, q: int, dim: int, itemsize: int) -> None:
    """Record rates and their share of the limits; nothing if it was not timed."""
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.median / times
    rates = {"gflops": 2e-9 * q * N * dim / seconds, "gflops_limit": bench.gigaflops(q, dim)}
    if q == 1:
        rates["gigabytes_per_second"] = 1e-9 * N * dim * itemsize / seconds
        rates["gigabytes_per_second_limit"] = bench.gigabytes(LARGE)
    benchmark.extra_info.update({name: round(rate, 2) for name, rate in rates.items()}, calls_per_round=times)


def time_knn(
    benchmark: Any,
    bench: Bench,
    isa: str,
    q: int,
    dim: int,
    metric: str = "l2",
    k: int = K,
    dtype: str = "float32",
) -> None:
    """Time exact search, and record what it is worth."""
    worker = bench.worker(isa)
    args = (q, dim, metric, k, dtype)
    recall = worker.call("recall", *args)
    once = harness.seconds(lambda: worker.call("knn", *args, 1))
    times = max(1, round(LEAST_SECONDS / once))
    benchmark(worker.call, "knn", *args, times)
    note(benchmark, N, q, dim, isa=isa, metric=metric, k=k, dtype=dtype, recall=round(recall, 4))
    note_rates(benchmark, bench, times, q, dim, np.dtype(dtype).itemsize)


@pytest.mark.parametrize("isa", wb.available_isas())
@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("q", [1, 256])
def test_knn(benchmark: Any, bench: Bench, isa: str, q: int, dim: int, metric: str) -> None:
    time_knn(benchmark, bench, isa, q, dim, metric)


@pytest.mark.parametrize("isa", wb.available_isas())
@pytest.mark.parametrize("dtype", ["float16", "uint8", "float64"])
@pytest.mark.parametrize("dim", [128, 784])
def test_knn_of_other_dtypes(benchmark: Any, bench: Bench, isa: str, dim: int, dtype: str) -> None:
    """They are converted first, which is part of the time."""
    time_knn(benchmark, bench, isa, 256, dim, dtype=dtype)


@pytest.mark.parametrize("isa", wb.available_isas())
@pytest.mark.parametrize("q", [4, 16, 64, 1024])
def test_knn_of_batches(benchmark: Any, bench: Bench, isa: str, q: int) -> None:
    """From rows that are read for few queries to tiles that are used often."""
    time_knn(benchmark, bench, isa, q, 384)


@pytest.mark.parametrize("isa", wb.available_isas())
@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_knn_selection(benchmark: Any, bench: Bench, isa: str, k: int) -> None:
    """Few dimensions, so that the time is that of keeping the k nearest."""
    time_knn(benchmark, bench, isa, 256, 8, k=k)


@pytest.mark.parametrize("megabytes", [1, 256])
def test_copy_loop(benchmark: Any, bench: Bench, megabytes: int) -> None:
    """The limit itself, beside the others in the file."""
    n_bytes = megabytes << 20
    times = max(1, 256 // megabytes)
    benchmark(bench.worker(wb.active_isa()).call, "copy", n_bytes, times)
    if benchmark.stats is not None:
        rate = 2e-9 * n_bytes * times / benchmark.stats.stats.median
        benchmark.extra_info.update(gigabytes_per_second=round(rate, 2), calls_per_round=times)


@pytest.mark.parametrize("dim", [128, 784])
def test_knn_of_all_rows(benchmark: Any, dim: int) -> None:
    """The self-join that LID needs."""
    base = points(4_000, dim, 0)
    benchmark(wb.knn, base, k=100, threads=1)
    note(benchmark, len(base), len(base), dim, recall=1.0)


def test_lid_of_given_neighbors(benchmark: Any) -> None:
    base = points(4_000, 16, 0)
    neighbors = wb.knn(base, k=100)
    benchmark(wb.estimate_lid, neighbors=neighbors)
    note(benchmark, len(base), len(base), 16)


@cache
def graph(dim: int) -> tuple[wb.HnswIndex, Float32, Int64]:
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
    recall = round(neighbors.recall(found.ids, truth), 4)
    note(benchmark, N, q, dim, recall=recall, ef_search=ef_search, distances=float(np.mean(counts.distances)))


@pytest.mark.parametrize("dim", [32, 384])
def test_graph_build(benchmark: Any, dim: int) -> None:
    base = points(2_000, dim, 0)
    index = benchmark(wb.HnswIndex.build, base, threads=1)
    assert index.validate().dead_edges == 0
    queries = points(100, dim, 1)
    recall = neighbors.recall(index.search(queries, K).ids, wb.knn(base, queries, K).ids)
    note(benchmark, len(base), 0, dim, recall=round(recall, 4))
