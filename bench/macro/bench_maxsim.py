"""Speed of exact MaxSim beside maxsim-cpu and a NumPy loop, and its share of the GEMM rate.

Three uses: one query of few tokens or of 32 with all documents, and all queries with all documents. GEMM: the
rate of NumPy's product of two 2048 x 2048 float32 matrices, in the same repetition and with as many threads.
Counted operations are 2 d (query tokens) (document tokens). maxsim-cpu and the loop take one query at a time;
maxsim-cpu chooses its threads itself: `taskset -c 0` makes the comparison with one thread fair.

  python -m bench.macro.bench_maxsim --data DIR
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from bench import harness, results, token_sets
from bench.token_sets import Sets, TokenSets

Calls = dict[str, tuple[Callable[[], object], int]]  # what to time, and its products of two tokens


def whimbrel(name: str, queries: Sets, documents: Sets, threads: int) -> Calls:
    """One call over arrays, and one for each dtype of a store."""
    import whimbrel as wb

    products = len(queries[0]) * len(documents[0])
    calls: Calls = {
        "whimbrel arrays": (lambda: wb.maxsim_matrix(queries, documents, threads=threads), products)
    }
    for dtype in ("f32", "f16", "int8"):
        store = wb.TokenStore(documents[0].shape[1], dtype)
        store.add(documents)

        def call(store: object = store) -> object:
            return wb.maxsim_matrix(queries, store, threads=threads)

        calls[f"whimbrel store {dtype}"] = (call, products)
    return calls


def peers(queries: Sets, documents: Sets) -> Calls:
    """One query after another; a few are enough."""
    docs = [np.ascontiguousarray(d) for d in np.split(documents[0], documents[1][1:-1])]
    some = [np.ascontiguousarray(q) for q in np.split(queries[0], queries[1][1:-1])[:4]]
    products = sum(map(len, some)) * len(documents[0])
    calls: Calls = {
        "NumPy loop": (lambda: [[(q @ d.T).max(axis=1).sum() for d in docs] for q in some], products)
    }
    if importlib.util.find_spec("maxsim_cpu") is not None:
        import maxsim_cpu  # type: ignore[import-not-found]

        calls["maxsim-cpu"] = (lambda: [maxsim_cpu.maxsim_scores_variable(q, docs) for q in some], products)
    return calls


def measure(sets: TokenSets, use: str, threads: int, repetitions: int) -> str:
    """One table."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    queries = sets.queries
    if use != "all queries":
        length = 32 if use == "a query of 32 tokens" else 7
        queries = sets.queries[0][:length].copy(), np.array([0, length])
    calls = whimbrel(use, queries, sets.documents, threads)
    calls |= peers(queries, sets.documents)
    matrix = np.random.default_rng(1).random((2048, 2048), dtype=np.float32)
    calls["GEMM"] = (lambda: matrix @ matrix, 2048**3 // token_sets.DIM)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    with threadpool_limits(threads):
        for name in harness.interleaved(list(calls), repetitions):
            call, products = calls[name]
            rates[name].append(harness.rate(call, products))
    body = []
    for name, found in rates.items():
        if name == "GEMM":
            continue
        faster = [own / theirs for own, theirs in zip(rates["whimbrel store f32"], found, strict=True)]
        share = [rate / gemm for rate, gemm in zip(found, rates["GEMM"], strict=True)]
        gflops = [2 * token_sets.DIM * rate / 1e9 for rate in found]
        body.append(
            [name, results.with_range(gflops, 1), results.with_range(faster, 2, "x"), f"{median(share):.0%}"]
        )
    gemm = 2 * token_sets.DIM * median(rates["GEMM"]) / 1e9
    title = f"{sets.name}, {use}, threads: {threads}, GEMM {gemm:.0f} GFLOP/s"
    header = ["by", "GFLOP/s", "whimbrel store f32 is faster by", "share of GEMM"]
    return f"{title}\n\n{results.table(header, body)}\n"


def run() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    both = sorted({1, harness.n_cores()})
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="default: one, and all cores")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    sets = token_sets.load(args.data)
    for use in ("a query of 7 tokens", "a query of 32 tokens", "all queries"):
        for threads in args.threads:
            sys.stdout.write(measure(sets, use, threads, args.repetitions) + "\n")


if __name__ == "__main__":
    harness.main(run)
