"""Ways to candidates for exact MaxSim: encodings and the single-vector heuristic, and what they are worth.

What an index over them costs is measured in bench_multivector.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import judged_sets, neighbors, results
from bench.dataset import Float32, Int64
from bench.judged_sets import JudgedSets, Sets

K = 10
LEVELS = (0.8, 0.9, 0.95)
RERANKED = (20, 50, 100)


class Mean:
    """The mean of a document's tokens, the sum of a query's."""

    fingerprint = "mean"

    def encode_documents(self, sets: Sets) -> Float32:
        return self.encode_queries(sets) / np.maximum(np.diff(sets[1]), 1)[:, None].astype(np.float32)

    def encode_queries(self, sets: Sets) -> Float32:
        tokens, offsets = sets
        sums = np.zeros((len(offsets) - 1, tokens.shape[1]), np.float32)
        np.add.at(sums, np.repeat(np.arange(len(sums)), np.diff(offsets)), tokens)
        return sums


def encoders(documents: Sets, sample: Sets) -> dict[str, Any]:
    import whimbrel as wb

    mean = documents[0].mean(axis=0)
    found: dict[str, Any] = {
        "mean pooling, 128": Mean(),
        "FDE (20, 4, 8), 2,560": wb.FdeEncoder(judged_sets.DIM, 4, 20, 8),
        "FDE (20, 5, 16), 10,240": wb.FdeEncoder(judged_sets.DIM, 5, 20, 16),
        "FDE (20, 5, 16) centered": wb.FdeEncoder(judged_sets.DIM, 5, 20, 16, center=mean),
        "FDE (20, 5, 16), means": wb.FdeEncoder(judged_sets.DIM, 5, 20, 16, fill_empty="mean"),
        "FDE (40, 6, 128) to 10,240": wb.FdeEncoder(judged_sets.DIM, 6, 40, None, 10_240),
        "LEMUR 1,024, document tokens": wb.LemurEncoder(documents, 1024),
        "LEMUR 2,048, document tokens": wb.LemurEncoder(documents, 2048),
    }
    if len(sample[0]) > 0:
        found["LEMUR 1,024, query tokens"] = wb.LemurEncoder(sample, 1024)
    return found


def ranks(scores: Float32) -> Int64:
    """Place of every document in the order of descending scores."""
    order = np.argsort(-scores, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(scores.shape[1])[None], axis=1)
    return places


def heuristic(documents: Sets, queries: Sets) -> tuple[Int64, Int64]:
    """Place of every document in the candidate list of the SV heuristic, with and without duplicates."""
    tokens, offsets = documents
    twice = []
    for first, last in zip(queries[1][:-1], queries[1][1:], strict=True):
        length = last - first
        found = np.full(len(offsets) - 1, np.iinfo(np.int64).max)
        for i, token in enumerate(queries[0][first:last]):
            order = np.argsort(-(tokens @ token), kind="stable")
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            found = np.minimum(found, np.minimum.reduceat(place, offsets[:-1]) * length + i)
        twice.append(found)
    places = np.array(twice)
    return places, ranks(-places.astype(np.float64))


def needed(places: Int64, truth: Int64, k: int, level: float) -> int:
    """Fewest candidates per query that hold this share of the true best k of all queries together."""
    found = np.sort(np.take_along_axis(places, truth[:, :k], 1).ravel())
    return int(found[int(np.ceil(level * len(found))) - 1]) + 1


def ndcg(rows: Int64, grades: list[dict[int, int]]) -> float:
    """Mean nDCG@10 of the queries that have a judgement; gains are grades."""
    discounts = 1 / np.log2(np.arange(2, K + 2))
    values = []
    for found, judged in zip(rows, grades, strict=True):
        if any(judged.values()):
            gains = np.array([judged.get(int(row), 0) for row in found[:K]])
            ideal = np.sort(list(judged.values()))[::-1][:K]
            values.append((gains @ discounts[: len(gains)]) / (ideal @ discounts[: len(ideal)]))
    return float(np.mean(values)) if values else float("nan")


def found_of(rows: Int64, truth: Int64) -> float:
    """Share of the true best K among the first K."""
    return neighbors.recall(rows[:, :K], truth[:, :K])


def quality(sets: JudgedSets, queries: Sets, exact: Float32, ways: dict[str, Int64]) -> str:
    """The first two tables."""
    truth = np.argsort(-exact, axis=1, kind="stable")
    header = [
        "candidates for",
        *(f"{level:.0%} of top {k}" for k in (1, K) for level in LEVELS),
    ]
    first = [
        [name, *(needed(places, truth, k, level) for k in (1, K) for level in LEVELS)]
        for name, places in ways.items()
    ]
    body = [["exact MaxSim", f"{ndcg(truth, sets.grades):.3f}", "1.000", *["-"] * len(RERANKED)]]
    for name, places in ways.items():
        alone = np.argsort(places, axis=1, kind="stable")
        cells = [f"{ndcg(alone, sets.grades):.3f}", f"{found_of(alone, truth):.3f}"]
        for n in RERANKED:
            ranked = np.argsort(np.where(places < n, -exact, np.inf), axis=1, kind="stable")
            cells.append(f"{ndcg(ranked, sets.grades):.3f} / {found_of(ranked, truth):.3f}")
        body.append([name, *cells])
    second = ["by", "nDCG@10 alone", "recall@10 alone", *(f"best {n} ranked exactly" for n in RERANKED)]
    title = f"{sets.name}: {exact.shape[1]:,} documents, {len(exact)} queries"
    return f"{title}\n\n{results.table(header, first)}\n\n{results.table(second, body)}\n"
