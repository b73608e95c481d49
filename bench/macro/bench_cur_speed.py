"""Speed of the algebra of cross-encoder search at 1,000,000 items and 500 anchor queries.

- One query's predictions and their top 10, as `CurIndex.retrieve` gives them, against the memory bandwidth of
  the same moment and against NumPy: `y @ scores` of the same matrix, then `argpartition`. A pass only reads,
  and its limit is what all cores can read, by BLAS `dot` of each core's part with itself, or of its two
  halves; the better of both in each repetition. Copying moves bytes read plus bytes written, and moves more
  of them a second than reads alone, since writes do not wait: a share of it is told as well.
- A round of a search: what it costs beside its pass over the items.
- Greedy anchors: 500 of 100,000 items.

Repetitions go round the candidates, so that a slow spell of the machine falls on all of them.

  whimbrel bench cur-speed
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import whimbrel as wb
from numpy.typing import NDArray

from bench import harness, machine, results
from bench.machine import Row

K, N_ANCHORS = 10, 100
WIDTHS = {"f16": 2, "int8": 1}  # bytes a value, else 4


def side_by_side(work: Callable[[int], object], pool: ThreadPoolExecutor, cores: int) -> None:
    """Run work(0) to work(cores - 1), each on a core."""
    list(pool.map(work, range(cores)))


def passes(scores: NDArray[np.float32], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each candidate, and of the same bytes copied and read."""
    cores = machine.n_cores()
    anchors = np.arange(0, scores.shape[1], scores.shape[1] // N_ANCHORS)[:N_ANCHORS]
    query = scores[:, anchors].mean(axis=0) + np.linspace(-1, 1, len(anchors), dtype=np.float32)
    weights = np.linspace(-1, 1, len(scores), dtype=np.float32)
    single, half, small = (wb.CurIndex.fit(scores, storage=s) for s in ("f32", "f16", "int8"))
    flat = scores.reshape(-1)
    parts = np.array_split(flat, cores)
    halves = [part[: len(part) // 2] for part in parts]
    targets = [np.empty_like(part) for part in halves]
    pairs = [np.split(part[: len(part) // 2 * 2], 2) for part in parts]

    def numpy() -> NDArray[np.int64]:
        predicted = weights @ scores
        found = np.argpartition(-predicted, K)[:K]
        return found[np.argsort(-predicted[found])]

    with ThreadPoolExecutor(cores) as pool:
        candidates: dict[str, Callable[[], Any]] = {
            "f32": lambda: single.retrieve(anchors, query, K, mu=1.0),
            "f16": lambda: half.retrieve(anchors, query, K, mu=1.0),
            "int8": lambda: small.retrieve(anchors, query, K, mu=1.0),
            "numpy": numpy,
            # Half of the matrix, read and written: as many bytes as one pass reads.
            "copy": lambda: side_by_side(lambda c: np.copyto(targets[c], halves[c]), pool, cores),
            "read": lambda: side_by_side(lambda c: np.dot(parts[c], parts[c]), pool, cores),
            "read in pairs": lambda: side_by_side(lambda c: np.dot(*pairs[c]), pool, cores),
        }
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for call in candidates.values():
            call()
        for name in harness.interleaved(list(candidates), repetitions):
            time.sleep(0.2)  # threads of a BLAS spin for a while after their work
            times[name].append(harness.seconds(candidates[name]))
    times["round"] = rounds_beside_their_pass(single, scores, times["f32"])
    return times


def rounds_beside_their_pass(
    cur: wb.CurIndex, scores: NDArray[np.float32], one_pass: list[float]
) -> list[float]:
    """Seconds of a search's algebra per round, without the pass; ten rounds, 500 items."""
    found = []
    for query in (0, 1, 2):
        hits = wb.cur_search(cur, lambda items, query=query: scores[query, items], K, 500, rounds=10)
        found.append(hits.algebra_seconds / 10 - statistics.median(one_pass))
    return found


def tables(rows: list[Row]) -> str:
    """Bandwidth and ratios, taken within each repetition."""
    body = []
    for row in (row for row in rows if row["kind"] == "pass"):
        times, size = row["seconds"], row["n"] * row["queries"]
        ceilings = [min(both) for both in zip(times["read"], times["read in pairs"], strict=True)]
        for name, seconds in times.items():
            if name == "round":
                continue
            width = WIDTHS.get(name, 4)
            shares = [
                results.with_range([t / s * width / 4 for t, s in zip(limit, seconds, strict=True)], 2)
                for limit in (ceilings, times["copy"])
            ]
            body.append(
                [
                    name,
                    results.with_range([1e3 * s for s in seconds], 1, " ms"),
                    results.with_range([width * size / s / 1e9 for s in seconds], 1, " GB/s"),
                    *shares,
                    results.with_range([n / s for n, s in zip(times["numpy"], seconds, strict=True)], 1, "x"),
                ]
            )
        body.append(
            ["round beside its pass", results.with_range([1e3 * s for s in times["round"]], 1, " ms")]
        )
        body[-1] += [None] * 4
    for row in (row for row in rows if row["kind"] == "greedy"):
        body.append(
            [f"{row['count']} greedy anchors of {row['n']:,}", f"{row['seconds']:.1f} s", *[None] * 4]
        )
    header = ["what", "time", "rate", "share of reading", "share of copying", "faster than numpy"]
    return results.table(header, body)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--n", type=int, default=1_000_000, help="items of the pass")
    parser.add_argument("--queries", type=int, default=500, help="anchor queries")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench/results/cur_speed.jsonl"))
    args = parser.parse_args(argv)
    out = results.ResultFile(args.out)
    name = f"random {args.n} x {args.queries}"
    if args.command == "run":
        rng = np.random.default_rng(0)
        scores = rng.random((args.queries, args.n), dtype=np.float32)
        noise = machine.Noise()
        times = passes(scores, args.repetitions)
        size = {"dataset": name, "n": args.n, "queries": args.queries}
        out.write("pass", {**size, "seconds": times})
        few = np.ascontiguousarray(scores[:, : args.n // 10])
        del scores
        cur = wb.CurIndex.fit(few)
        seconds = harness.seconds(lambda: cur.select_anchors(500))
        out.write("greedy", {**size, "n": few.shape[1], "count": 500, "seconds": seconds})
        out.write("noise", {"dataset": name, **noise.row()})
    sys.stdout.write(results.report(out, [name], tables) + "\n")


if __name__ == "__main__":
    harness.main(run)
