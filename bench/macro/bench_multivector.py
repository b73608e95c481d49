"""Ways to candidates for exact MaxSim: how many are needed, what the ranking is worth, what an index costs.

Three tables on judged queries. LEMUR may be fitted on half of them, and the other half is tested; of fewer
than 20 all are tested.

- candidates needed so that they hold 80, 90 and 95 % of the true best 1 and 10 documents, when documents are
  sorted by exact inner products of encodings. The single-vector heuristic (SV) takes documents of the nearest
  tokens of each query token, rank by rank; a document counts each time ("with duplicates") or once.
- nDCG@10 and recall@10 against exact MaxSim, of an encoding alone and with its best N ranked exactly.
- `MultiVectorIndex`, graph and codes: memory, time of building, milliseconds per query with one thread beside
  exact MaxSim with all documents, one query a call, and the growth of the process while documents are added
  batch by batch.

  python -m bench.macro.bench_multivector --data DIR
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import harness, judged_sets, memory, results
from bench.dataset import Float32, Int64
from bench.judged_sets import JudgedSets, Sets
from bench.macro.candidates import K, encoders, found_of, heuristic, ndcg, quality, ranks


def resident() -> float:
    """Mebibytes of this process in memory."""
    return (memory.resident_bytes() or 0) / 2**20


def milliseconds(call: Callable[[Float32], object], queries: Sets, repetitions: int) -> list[float]:
    """Of a call with one query, the mean over all queries."""
    single = np.split(queries[0], queries[1][1:-1])

    def all_of_them() -> None:
        for query in single:
            call(query)

    all_of_them()
    return [1000 * harness.seconds(all_of_them) / len(single) for _ in range(repetitions)]


def index_costs(
    sets: JudgedSets, queries: Sets, exact: Float32, encoder: Any, name: str, args: argparse.Namespace
) -> list[list[object]]:
    """Rows of the third table: the graph over encodings, then over codes."""
    import whimbrel as wb

    truth = np.argsort(-exact, axis=1, kind="stable")
    index = wb.MultiVectorIndex(judged_sets.DIM, encoder, M=16, ef_construction=100)
    n = len(sets.documents[1]) - 1
    batches = np.array_split(np.arange(n), max(1, n // 256))
    before, start = resident(), time.perf_counter()
    index.add_batches(judged_sets.part(sets.documents, rows) for rows in batches)
    built, grown = time.perf_counter() - start, resident() - before
    rows: list[list[object]] = []
    for codes in (False, True):
        if codes:
            start = time.perf_counter()
            index.compress()
            built = time.perf_counter() - start
        tuned = index.tune(queries, args.recall)
        found = index.search(queries, K, threads=1).ids
        taken = milliseconds(lambda q: index.search(q, K, threads=1), queries, args.repetitions)
        encoding = milliseconds(lambda q: encoder.encode_queries([q], threads=1), queries, args.repetitions)
        rows.append(
            [
                f"{name}{', codes' if codes else ''}",
                f"{index.memory_usage() / n / 1024:.1f}",
                f"{built:.1f}",
                "-" if codes else f"{grown:.0f} ({index.memory_usage() / 2**20:.0f})",
                tuned.candidates,
                tuned.ef_search,
                f"{found_of(found, truth):.3f}",
                f"{ndcg(found, sets.grades):.3f}",
                results.with_range(taken, 2),
                results.with_range(encoding, 2),
            ]
        )
    return rows


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    parser.add_argument("--dataset", choices=judged_sets.NAMES, default="nfcorpus")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--recall", type=float, default=0.95, help="that indexes are tuned to")
    parser.add_argument("--only", choices=("quality", "index"), help="default: all tables")
    args = parser.parse_args(argv)
    import whimbrel as wb

    sample, queries, sets = judged_sets.halves(judged_sets.load(args.data, args.dataset))
    exact = wb.maxsim_matrix(queries, sets.documents)

    if args.only != "index":
        ways: dict[str, Int64] = {}
        for name, encoder in encoders(sets.documents, sample).items():
            harness.log(name)
            encoded = encoder.encode_documents(sets.documents)
            ways[name] = ranks(encoder.encode_queries(queries) @ encoded.T)
        harness.log("SV")
        with_duplicates, without = heuristic(sets.documents, queries)
        ways |= {"SV, with duplicates": with_duplicates, "SV, without": without}
        sys.stdout.write(quality(sets, queries, exact, ways) + "\n")
    if args.only != "quality":
        store = wb.TokenStore(judged_sets.DIM, "f16")
        store.add(sets.documents)
        flat = milliseconds(lambda q: wb.maxsim(q, store, threads=1), queries, args.repetitions)
        rows: list[list[object]] = []
        chosen: list[tuple[str, Any]] = [
            ("FDE (20, 4, 8)", wb.FdeEncoder(judged_sets.DIM, 4, 20, 8)),
            ("FDE (20, 5, 16)", wb.FdeEncoder(judged_sets.DIM, 5, 20, 16)),
            ("LEMUR 2,048", wb.LemurEncoder(sets.documents, 2048)),
        ]
        for name, encoder in chosen:
            harness.log(name)
            rows += index_costs(sets, queries, exact, encoder, name, args)
        header = [
            f"index, tuned to {args.recall:.0%} of the top 10",
            "KiB/document",
            "build or compress, s",
            "process grew by, MiB (index)",
            "candidates",
            "ef",
            "recall@10",
            "nDCG@10",
            "ms/query, 1 thread",
            "of them encoding",
        ]
        tokens = np.diff(sets.documents[1]).mean()
        title = f"Exact MaxSim with all documents of {tokens:.0f} tokens, float16 store, 1 thread: "
        title += f"{results.with_range(flat, 2)} ms/query, nDCG@10 "
        title += f"{ndcg(np.argsort(-exact, axis=1, kind='stable'), sets.grades):.3f}"
        sys.stdout.write(f"{title}\n\n{results.table(header, rows)}\n")


if __name__ == "__main__":
    harness.main(run)
