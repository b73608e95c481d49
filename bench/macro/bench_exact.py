"""Exact top-10 of a batch of queries: whimbrel's knn, faiss `IndexFlat`, NumPy's sgemm on the same shapes.

GFLOP/s count 2 q n d, the work of the inner products alone, so they can be held against a matrix product:

- `faiss-flat (default)`: the wheel's OpenBLAS chooses its kernels itself. On CPUs newer than it, it may
  fall back to kernels several times slower, so on a CPU with AVX-512 there is also
- `faiss-flat (SkylakeX)`: the same in a process with OPENBLAS_CORETYPE=SkylakeX, the fair peer.
- `whimbrel (avx512)`: without the matrix unit, where there is one.
- `numpy sgemm`: the product of queries and blocks of the base, nothing else; what selection comes on top
  of.
- `numpy sgemm + argpartition`: exact search as one writes it with NumPy.

OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for all others; each row says what its BLAS reports.

  python -m bench.macro.bench_exact --data DIR
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, harness, results
from bench.harness import Row
from bench.worker import Worker, WorkerError

K = 10
BLOCK = 8_192  # base rows per matrix product of the NumPy peers: the scores of 1000 queries stay below 32 MiB
PLAIN: dict[str, str | None] = {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None}


class Peer(ABC):
    """One way to do it, in its own process."""

    package: str

    def __init__(self, dataset: str, folder: Path | None, n: int | None, queries: int, cache: Path) -> None:
        self.data = data.load(dataset, folder, n, queries)
        self.cache = cache
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - nothing to do is a valid answer
        """Do what does not depend on the queries."""

    @abstractmethod
    def search(self) -> NDArray[np.integer[Any]] | None:
        """Ids of the nearest, or None if it does not select."""

    @contextlib.contextmanager
    def limited(self, threads: int) -> Any:
        """Hold all thread pools of the process to a number of threads."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(threads):
            self.threads = threads
            yield

    def measure(self, threads: int) -> float:
        """Seconds of one batch."""
        with self.limited(threads):
            return harness.seconds(self.search)

    def facts(self) -> Row:
        """Check the result and say what runs."""
        from threadpoolctl import threadpool_info

        with self.limited(harness.n_cores()):
            found = self.search()
        truth = data.ground_truth(self.data, self.cache, K)
        blas = [
            f"{lib['prefix']} {lib['version']} {lib['architecture']}"
            for lib in threadpool_info()
            if lib["user_api"] == "blas" and self.uses(lib)
        ]
        return {
            **self.data.facts(),
            "version": harness.version(self.package),
            "kernels": ", ".join(blas),
            "recall": None if found is None else data.recall(found, truth),
        }

    def uses(self, library: Row) -> bool:
        """Whether a loaded BLAS is the one that this peer calls."""
        return True


class Whimbrel(Peer):
    package = "whimbrel"

    def search(self) -> NDArray[np.integer[Any]]:
        import whimbrel as wb

        return wb.knn(self.data.base, self.data.queries, K, self.data.metric, threads=self.threads).ids

    def facts(self) -> Row:
        import whimbrel as wb

        return {**super().facts(), "kernels": f"own, {wb.active_isa()}"}


class FaissFlat(Peer):
    package = "faiss-cpu"

    def prepare(self) -> None:
        import faiss

        kind = faiss.IndexFlatL2 if self.data.metric == "l2" else faiss.IndexFlatIP
        self.index = kind(self.data.base.shape[1])
        self.index.add(self.data.base)

    def search(self) -> NDArray[np.integer[Any]]:
        import faiss

        faiss.omp_set_num_threads(self.threads)
        found: NDArray[np.integer[Any]] = self.index.search(self.data.queries, K)[1]
        return found

    def uses(self, library: Row) -> bool:
        return "faiss" in library["filepath"]


class NumpyProduct(Peer):
    package = "numpy"

    def prepare(self) -> None:
        self.scores = np.empty((len(self.data.queries), BLOCK), np.float32)

    def search(self) -> None:
        for start in range(0, len(self.data.base), BLOCK):
            block = self.data.base[start : start + BLOCK]
            np.matmul(self.data.queries, block.T, out=self.scores[:, : len(block)])


class NumpySearch(Peer):
    package = "numpy"

    def prepare(self) -> None:
        l2 = self.data.metric == "l2"
        self.offsets = np.einsum("nd,nd->n", self.data.base, self.data.base) / 2 if l2 else None

    def search(self) -> NDArray[np.integer[Any]]:
        queries, base = self.data.queries, self.data.base
        best = np.empty((len(queries), 0), np.float32)  # negated scores, smaller is nearer
        ids = np.empty((len(queries), 0), np.int64)
        for start in range(0, len(base), BLOCK):
            distances = -(queries @ base[start : start + BLOCK].T)
            if self.offsets is not None:
                distances += self.offsets[start : start + BLOCK]
            near = np.argpartition(distances, min(K, distances.shape[1]) - 1, axis=1)[:, :K]
            best = np.concatenate([best, np.take_along_axis(distances, near, 1)], axis=1)
            ids = np.concatenate([ids, near + start], axis=1)
        order = np.argsort(best, axis=1)[:, :K]
        return np.take_along_axis(ids, order, 1)


def peers() -> dict[str, tuple[Callable[..., Peer], dict[str, str | None]]]:
    """Name, class and environment of each."""
    known: dict[str, tuple[Callable[..., Peer], dict[str, str | None]]] = {
        "whimbrel": (Whimbrel, PLAIN),
        "faiss-flat (default)": (FaissFlat, PLAIN),
    }
    if {"amx_bf16", "avx512_bf16"} <= harness.cpu_flags():
        known["whimbrel (avx512)"] = (Whimbrel, {**PLAIN, "WHIMBREL_ISA": "avx512"})
    if "avx512f" in harness.cpu_flags():
        known["faiss-flat (SkylakeX)"] = (FaissFlat, {**PLAIN, "OPENBLAS_CORETYPE": "SkylakeX"})
    known["numpy sgemm"] = (NumpyProduct, PLAIN)
    known["numpy sgemm + argpartition"] = (NumpySearch, PLAIN)
    return known


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Time all peers on one data set, interleaved, and write a row for each and each number of threads."""
    data.ground_truth(data.load(dataset, args.data, args.n, args.queries), args.cache, K)
    noise = harness.Noise()
    workers, facts = [], {}
    for name, (kind, environment) in peers().items():
        worker = Worker(
            name, kind, dataset, args.data, args.n, args.queries, args.cache, environment=environment
        )
        try:
            facts[name] = worker.call("facts")
            workers.append(worker)
        except WorkerError as error:
            harness.log(f"FAILED {error}")
            out.write("failed", {"dataset": dataset, "engine": name, "reason": str(error)})
            worker.close()
    for threads in args.threads:
        seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for worker in workers:
            worker.call("measure", threads)  # warms up, and starts threads
        for worker in harness.interleaved(workers, args.repetitions):
            seconds[worker.name].append(worker.call("measure", threads))
        for name, times in seconds.items():
            out.write("exact", {**facts[name], "engine": name, "k": K, "threads": threads, "seconds": times})
        harness.log(f"{dataset}: {threads} threads done")
    for worker in workers:
        worker.close()
    out.write("noise", {"dataset": dataset, **noise.row()})


def tables(rows: Sequence[Row]) -> str:
    """One table per number of threads; ratios are taken within a repetition."""
    parts = []
    for threads in sorted({row["threads"] for row in rows if row["kind"] == "exact"}):
        here = {row["engine"]: row for row in rows if row["kind"] == "exact" and row["threads"] == threads}
        own = here.get("whimbrel")
        body = []
        for name, row in here.items():
            flops = 2 * row["queries"] * row["n"] * row["dim"]
            faster = (
                None
                if own is None
                else results.with_range(
                    [theirs / ours for theirs, ours in zip(row["seconds"], own["seconds"], strict=True)],
                    2,
                    "x",
                )
            )
            body.append(
                [
                    name,
                    results.with_range([row["queries"] / s for s in row["seconds"]]),
                    results.with_range([flops / s / 1e9 for s in row["seconds"]]),
                    faster,
                    None if row["recall"] is None else f"{row['recall']:.4f}",
                    row["kernels"],
                ]
            )
        size = next(iter(here.values()))
        shape = f"{size['queries']:,} queries, {size['n']:,} x {size['dim']}, {size['metric']}"
        title = f"{shape}, threads: {threads}"
        header = ["by", "QPS", "GFLOP/s", "whimbrel is faster by", f"recall@{K}", "kernels"]
        parts.append(f"{title}\n\n" + results.table(header, body))
    return "\n\n".join(parts)


def run() -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mnist-784", "mixlid"), "exact.jsonl")
    both = sorted({1, harness.n_cores()})
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="default: one, and all cores")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    if args.quick:
        args.n, args.queries, args.repetitions = args.n or 10_000, min(args.queries, 500), 3
    out = results.ResultFile(args.out)
    datasets = harness.chosen_datasets(args)
    if args.command == "run":
        for dataset in datasets:
            measure(args, dataset, out)
    sys.stdout.write(results.report(out, datasets, tables) + "\n")


if __name__ == "__main__":
    harness.main(run)
