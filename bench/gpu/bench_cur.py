"""CUR on a GPU beside the CPU of the same machine: the best items of many queries, and the greedy anchors.

Scores are of low rank with some noise. Both give the same items; that is checked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import whimbrel as wb
from bench_knn import say, table


def make_scores(k_q: int, n: int, rank: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(shape, dtype=np.float32) for shape in ((k_q, rank), (rank, n)))
    scores = left @ right
    scores += 0.1 * rng.standard_normal(scores.shape, dtype=np.float32)
    return scores


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median wall time of a call that returns when its work is done, after one that does not count."""
    times = []
    for number in range(rounds + 1):
        start = time.perf_counter()
        call()
        if number > 0:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments, _ = parser.parse_known_args()  # verify.sh hands all benches the same
    n, k_q, n_queries, count = 200_000, 256, 1000, 100
    scores = make_scores(k_q + n_queries, n)
    cur = wb.CurIndex.fit(scores[:k_q])
    items = cur.select_anchors(count, device="cuda")
    there = wb.cuda.DeviceItems(cur)
    known = scores[k_q:, items]
    same = np.array_equal(
        cur.retrieve(items, known[:50], 100, items=there).ids, cur.retrieve(items, known[:50], 100).ids
    )
    rows = [
        [
            f"best 100 of {n_queries} queries, {n} items, k_q {k_q}",
            f"{seconds(lambda: cur.retrieve(items, known, 100, items=there), arguments.rounds) * 1e3:.1f}",
            f"{seconds(lambda: cur.retrieve(items, known, 100), 1) * 1e3:.1f}",
            "yes" if same else "NO",
        ],
        [
            f"{count} greedy anchors of {n} items, k_q {k_q}",
            f"{seconds(lambda: cur.select_anchors(count, device='cuda'), 1) * 1e3:.1f}",
            f"{seconds(lambda: cur.select_anchors(count), 1) * 1e3:.1f}",
            "yes" if np.array_equal(items, cur.select_anchors(count)) else "NO",
        ],
    ]
    say(table(["CUR", "with the GPU, ms", "CPU, ms", "the same items"], rows))


if __name__ == "__main__":
    main()
