"""Where a graph of the items replaces the passes of cross-encoder search: seconds per round, beside recall.

Scores of a decaying spectrum and noise, n items and 100 anchor queries; searches with a budget of 200 in ten
rounds, the same ones with a pass over all items in each round and with a graph of `CurIndex.item_vectors()`.

  whimbrel bench cur-graph --sizes 10000 100000
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import whimbrel as wb

from bench import harness, results
from bench.machine import Row

K, BUDGET, ROUNDS, N_ANCHORS, N_TESTS, RANK = 10, 200, 10, 100, 30, 64


def measure(n: int) -> Row:
    """Build time, and the algebra and recall of searches both ways."""
    rng = np.random.default_rng(0)
    items = (
        rng.standard_normal((RANK, n), np.float32) / np.sqrt(1 + np.arange(RANK, dtype=np.float32))[:, None]
    )
    scores = rng.standard_normal((N_ANCHORS + N_TESTS, RANK), np.float32) @ items
    scores += 0.3 * scores.std() * rng.standard_normal(scores.shape, np.float32)
    cur = wb.CurIndex.fit(scores[:N_ANCHORS])
    graphs: list[wb.HnswIndex] = []
    build = harness.seconds(lambda: graphs.append(wb.HnswIndex.build(cur.item_vectors(), metric="ip")))
    anchors = cur.select_anchors(BUDGET // ROUNDS)
    seconds: dict[str, list[float]] = {"pass": [], "graph": []}
    recall: dict[str, list[float]] = {"pass": [], "graph": []}
    for test in range(N_TESTS):
        query = scores[N_ANCHORS + test]
        truth = np.argsort(-query, kind="stable")[:K]
        for name in harness.interleaved(list(seconds), 1):
            graph = graphs[0] if name == "graph" else None
            search = wb.CurSearch(cur, K, BUDGET, ROUNDS, start=anchors, graph=graph)
            while len(wanted := search.next_items()) > 0:
                search.observe(query[wanted])
            hits = search.result()
            seconds[name].append(hits.algebra_seconds / ROUNDS)
            recall[name].append(len(np.intersect1d(hits.ids, truth)) / K)
    return {"n": n, "build_seconds": build, "seconds": seconds, "recall": recall}


def tables(rows: list[Row]) -> str:
    """One row per size."""
    body = []
    for row in (row for row in rows if row["kind"] == "graph"):
        times = {name: 1e3 * statistics.median(values) for name, values in row["seconds"].items()}
        body.append(
            [
                f"{row['n']:,}",
                f"{row['build_seconds']:.1f} s",
                *(f"{times[name]:.2f} ms" for name in times),
                f"{times['pass'] / times['graph']:.2f}x",
                *(f"{np.mean(row['recall'][name]):.3f}" for name in times),
            ]
        )
    header = ["items", "build", "round by pass", "by graph", "faster", "recall by pass", "by graph"]
    return results.table(header, body)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--out", type=Path, default=Path("bench/results/cur_graph.jsonl"))
    args = parser.parse_args(argv)
    out = results.ResultFile(args.out)
    if args.command == "run":
        for n in args.sizes:
            out.write("graph", {"dataset": "low rank", **measure(n)})
            harness.log(f"{n:,} items done")
    sys.stdout.write(results.report(out, ["low rank"], tables) + "\n")


if __name__ == "__main__":
    harness.main(run)
