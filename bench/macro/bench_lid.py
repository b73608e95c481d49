"""What does LID give beyond the order of insertion, at equal memory, and does `refine` end the order's say?

Two questions, each over three seeds (of levels, random order, and order within a category):

order     every order, built, built and refined, and built by hnswlib on one thread.
ablation  random order; what a row gets follows the rank of its LID, rising with it or falling: its level (as
          many rows on each level as before), its own links (M / 2 to 3 M / 2, M on average), its
          ef_construction (half to three halves of it). And the beam of a query: a search of ef 10, the LID of
          its ten hits, and a second search with half to three halves of ef; the distances of both count.

Recall@10 and distance computations: nothing here is timed. LID: maximum likelihood, exact 100 nearest
neighbors. Sets without labels get categories: the nearest of 64 random rows.

  python -m bench.macro.bench_lid --data DIR --n 10000
  python -m bench.macro.bench_lid table
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, engines, harness, neighbors, results
from bench.dataset import DataSet
from bench.machine import Row
from bench.macro.lid_tables import ABLATIONS, ORDERS, K, report

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192)
FIRST_EF = 10
CATEGORIES = 64


class LidBench:
    """One data set, and what does not change with the seed."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        self.rows: DataSet = data.load(name, args.data, args.n, args.queries)
        self.truth = neighbors.ground_truth(self.rows, args.cache, K)
        self.lid = neighbors.exact_lid(self.rows, args.cache)
        self.labels = categories(self.rows) if self.rows.labels is None else self.rows.labels
        self.M, self.ef_construction = args.M, args.ef_construction

    def order(self, name: str, seed: int) -> NDArray[np.int64]:
        """The permutation of an order."""
        import whimbrel as wb

        if name in ("lid_descending", "lid_ascending"):
            return wb.insertion_order(self.lid, descending=name == "lid_descending")
        labels = self.labels if name == "category" else None
        return wb.named_order(self.rows.base, name, labels=labels, seed=seed)

    def ours(self, order: str, seed: int, per_row: Any = None) -> Any:
        """An index of this package."""
        import whimbrel as wb

        return wb.HnswIndex.build(
            self.rows.base,
            metric=self.rows.metric,
            M=self.M,
            ef_construction=self.ef_construction,
            order=self.order(order, seed),
            seed=seed,
            per_row=per_row,
        )

    def orders(self, seed: int) -> Iterator[tuple[str, str, Row]]:
        """(variant, order, row) of the first question."""
        for order in ORDERS:
            index = self.ours(order, seed)
            yield "built", order, self.facts(index)
            index.refine()
            yield "refined", order, self.facts(index)
            del index
            peer = engines.ENGINES["hnswlib"](self.rows.metric, self.M, self.ef_construction, seed)
            peer.build(self.rows, 1, self.order(order, seed))
            points = []
            for ef in EFS:
                peer.set_parameter(ef)
                found = peer.search(self.rows.queries, K, 1)
                points.append({"ef": ef, "recall": neighbors.recall(found, self.truth), "distances": None})
            level0 = peer.level0()
            yield "hnswlib", order, {"points": points, **(asdict(level0) if level0 else {})}

    def ablations(self, seed: int) -> Iterator[tuple[str, str, Row]]:
        """(variant, order, row) of the second question."""
        import whimbrel as wb

        plain = self.ours("random", seed)
        sizes = np.array([*plain.stats.level_sizes, 0])
        for name, rising in ABLATIONS:
            share = rank(self.lid if rising else -self.lid)
            variant = f"{name} {'rises' if rising else 'falls'}"
            if name == "query ef":
                yield variant, "random", {"points": [self.two_step(plain, ef, rising) for ef in EFS]}
                continue
            if name == "level":
                places = np.argsort(np.argsort(-share, kind="stable"), kind="stable")
                per_row = wb.PerRow(levels=(places[:, None] < sizes[None, 1:]).sum(axis=1))
            elif name == "links":
                per_row = wb.PerRow(links=np.rint(self.M * (0.5 + share)).astype(np.int64))
            else:
                per_row = wb.PerRow(
                    ef_construction=np.rint(self.ef_construction * (0.5 + share)).astype(np.int64)
                )
            yield variant, "random", self.facts(self.ours("random", seed, per_row))

    def two_step(self, index: Any, ef: int, rising: bool) -> Row:
        """Search narrowly, then with a beam by the LID of the hits."""
        import whimbrel as wb

        queries = self.rows.queries
        hits, first = index.search_with_counts(queries, K, ef_search=FIRST_EF)
        lid = wb.estimate_lid(neighbors=tuple(hits), k=K, metric=self.rows.metric)
        efs = np.rint(ef * (0.5 + rank(lid if rising else -lid))).astype(np.int64)
        hits, second = index.search_with_counts(queries, K, ef_search=efs)
        spent = float(np.mean(first.distances + second.distances))
        return {"ef": ef, "recall": neighbors.recall(hits.ids, self.truth), "distances": spent}

    def facts(self, index: Any) -> Row:
        """Recall and distances over ef, and what the graph is."""
        points = []
        for ef in EFS:
            hits, counts = index.search_with_counts(self.rows.queries, K, ef_search=ef)
            spent = float(np.mean(counts.distances))
            points.append({"ef": ef, "recall": neighbors.recall(hits.ids, self.truth), "distances": spent})
        return {
            "points": points,
            "mean_degree": index.stats.mean_degree,
            "unreachable": index.validate().unreachable,
            "memory_bytes": index.memory_usage(),
        }


def rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of each value in their order, from 0 to 1; ties by position."""
    places = np.empty(len(values))
    places[np.argsort(values, kind="stable")] = np.linspace(0, 1, len(values))
    return places


def categories(rows: DataSet) -> NDArray[np.int64]:
    """The nearest of some random rows, for sets without labels."""
    import whimbrel as wb

    chosen = np.random.default_rng(0).choice(len(rows.base), min(CATEGORIES, len(rows.base)), replace=False)
    return wb.knn(rows.base[chosen], rows.base, 1, rows.metric).ids[:, 0]


def measure(args: argparse.Namespace, name: str, out: results.ResultFile) -> None:
    """Write a row for each index of one data set."""
    bench = LidBench(args, name)
    common = {**bench.rows.facts(), "M": args.M, "ef_construction": args.ef_construction}
    for seed in range(args.seeds):
        for question, cells in (("order", bench.orders(seed)), ("ablation", bench.ablations(seed))):
            for variant, order, row in cells:
                out.write("lid", {**common, "question": question, "variant": variant, "order": order} | row)
        harness.log(f"{name}: seed {seed} of {args.seeds} done")


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    datasets = ("mnist-784", "minilm-100k", "mixlid", "tail")
    parser = harness.parser(__doc__, datasets, "lid.jsonl")
    parser.add_argument("--M", type=harness.positive, default=16)
    parser.add_argument("--ef-construction", type=harness.positive, default=128)
    parser.add_argument("--seeds", type=harness.positive, default=3)
    args = parser.parse_args(argv)
    args.n = args.n or (2_000 if args.quick else 20_000)
    if args.quick:
        args.queries, args.seeds = min(args.queries, 200), 1
    harness.measure_and_print(
        args, harness.chosen_datasets(args), measure, partial(results.report, tables=report)
    )


if __name__ == "__main__":
    harness.main(run)
