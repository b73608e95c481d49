"""Top-k recall of cross-encoder search against calls of the scorer, for the published methods and ours.

Every method may score `budget` items per query; recall is the share of the true best k of all items among the
best k of those it scored. Mean over the test queries, then mean and half the range over random splits into
anchor and test queries. The peers are written in NumPy from their papers, in float64:

- `random`, `popularity` (the highest mean over the anchor queries), `first stage` (retrieve and re-rank);
- `ANNCUR`: random anchor items for half of the budget, pseudo-inverse, the rest re-ranked; `oracle split`:
  for each k the best of nine shares, chosen on the test queries themselves, as published;
- `ADACUR`: five rounds that begin with the first stage, pseudo-inverse, all of the budget in the rounds;
- `AXN-like`: the same with factors of rank 64 and least squares, mixed with the first stage's projection; the
  better of two weights, chosen on the test queries.

  whimbrel bench cur --data DIR
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import whimbrel as wb
from numpy.typing import NDArray

from bench import cur_beds, harness, machine, results
from bench.machine import Row

KS = (1, 10, 100)
BUDGETS = (50, 100, 200, 500, 1000)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WEIGHTS = (0.0, 0.5)
#: Whose rows a budget has once it is whole.
ENGINES = {
    *("random", "popularity", "first stage", "ADACUR", "whimbrel", "whimbrel, no first stage"),
    *(f"ANNCUR {share}" for share in SHARES),
    *(f"AXN-like {weight}" for weight in WEIGHTS),
}
Items = NDArray[np.int64]
Values = NDArray[np.floating[Any]]


def best(scores: Values, count: int) -> Items:
    """Items of the highest scores, ties by number."""
    return np.argsort(-scores, kind="stable")[:count]


class Split:
    """One split of a bed: what the methods may know, and queries to search for."""

    def __init__(self, bed: cur_beds.Bed, seed: int) -> None:
        anchors, self.tests = bed.split(seed)
        self.bed, self.seed = bed, seed
        self.anchor_scores = bed.scores[anchors].astype(np.float64)
        self.anchor_first = bed.first_stage[anchors]
        self.means = self.anchor_scores.mean(axis=0)
        self.n_items = bed.scores.shape[1]
        _, values, right = np.linalg.svd(self.anchor_scores, full_matrices=False)
        self.factors = (right[:64] * values[:64, None]).T  # (n_items, 64)
        self.random_items = np.random.default_rng(seed).permutation(self.n_items)
        self._inverses: dict[int, Values] = {}
        self.cur = {
            "whimbrel": wb.CurIndex.fit(self.anchor_scores, first_stage=self.anchor_first, intercept=True),
            "whimbrel, no first stage": wb.CurIndex.fit(self.anchor_scores),
        }

    def inverse(self, count: int) -> Values:
        """Pseudo-inverse of the anchor scores of the first random items; no query changes it."""
        if count not in self._inverses:
            few = self.anchor_scores[:, self.random_items[:count]].astype(np.float32)
            self._inverses[count] = np.linalg.pinv(few)
        return self._inverses[count]


def peers(split: Split, query: int, budget: int) -> dict[str, Items]:
    """What each of the simple methods scores."""
    rng = np.random.default_rng(query)
    first = split.bed.first_stage[query]
    return {
        "random": rng.permutation(split.n_items)[:budget],
        "popularity": best(split.means, budget),
        "first stage": best(first, budget),
        **{f"ANNCUR {share}": anncur(split, split.bed.scores[query], budget, share) for share in SHARES},
        "ADACUR": in_rounds(split.anchor_scores.T, split.bed.scores[query], first, budget, None),
        **{
            f"AXN-like {weight}": in_rounds(split.factors, split.bed.scores[query], first, budget, weight)
            for weight in WEIGHTS
        },
    }


def anncur(split: Split, scores: Values, budget: int, share: float) -> Items:
    """Fixed anchors, then the highest predictions."""
    anchors = split.random_items[: max(1, int(share * budget))]
    predicted = scores[anchors] @ split.inverse(len(anchors)) @ split.anchor_scores
    predicted[anchors] = -np.inf
    return np.concatenate([anchors, best(predicted, budget - len(anchors))])


def in_rounds(features: Values, scores: Values, first: Values, budget: int, weight: float | None) -> Items:
    """Five equal rounds from the first stage on; least squares, mixed with the first stage's own query."""
    chosen = best(first, budget // 5)
    prior = 0.0 if not weight else np.linalg.lstsq(features, first.astype(np.float64), rcond=None)[0]
    for left in (4, 3, 2, 1):
        fitted = np.linalg.lstsq(features[chosen], scores[chosen].astype(np.float64), rcond=None)[0]
        predicted = features @ ((1 - (weight or 0.0)) * fitted + (weight or 0.0) * prior)
        predicted[chosen] = -np.inf
        chosen = np.concatenate([chosen, best(predicted, (budget - len(chosen)) // left)])
    return chosen


def ours(split: Split, query: int, budget: int) -> dict[str, Items]:
    """What our searches score, with their defaults."""
    scores, first = split.bed.scores[query], split.bed.first_stage[query]
    found = {}
    for name, cur in split.cur.items():
        search = wb.CurSearch(
            cur, max(KS), budget, first_stage=first if cur.has_first_stage else None, seed=split.seed
        )
        search.run(lambda items, scores=scores: scores[items])
        found[name] = search.ledger[0]
    return found


def measure(bed: cur_beds.Bed, n_splits: int, out: results.ResultFile) -> None:
    """Write one row per split, budget and method: recall at each k. A whole budget of the file is kept."""
    same = {"checksum": zlib.crc32(bed.scores.tobytes()), "core": machine.build_of_core()}
    for seed in range(n_splits):
        split: Split | None = None
        for budget in (budget for budget in BUDGETS if budget < bed.scores.shape[1]):
            common = {"dataset": bed.name, "split": seed, "budget": budget, **same}
            earlier = {row["engine"]: row["recall"] for row in out.find("cur", common)}
            if earlier.keys() == ENGINES:
                for name, mean in earlier.items():
                    out.write("cur", {**common, "engine": name, "recall": mean})
                continue
            split = split or Split(bed, seed)
            truth = {query: best(bed.scores[query], max(KS)) for query in split.tests}
            recalls: dict[str, list[list[float]]] = {}
            for query in split.tests:
                scores = bed.scores[query]
                for name, items in {**peers(split, query, budget), **ours(split, query, budget)}.items():
                    if len(np.unique(items)) != len(items) or len(items) > budget:
                        raise AssertionError(f"{name} scored more than its budget, or an item twice")
                    ranked = items[best(scores[items], max(KS))]
                    recalls.setdefault(name, []).append(
                        [len(np.intersect1d(ranked[:k], truth[query][:k])) / k for k in KS]
                    )
            for name, values in recalls.items():
                mean = dict(zip(map(str, KS), np.mean(values, axis=0).tolist(), strict=True))
                out.write("cur", {**common, "engine": name, "recall": mean})
            harness.log(f"{bed.name}: split {seed}, budget {budget} done")


def choose(rows: list[Row], name: str, budget: int, k: int) -> list[float] | None:
    """Recall of a method on each split; of a family the member that is best on the mean of all."""
    families: dict[str, Callable[[str], bool]] = {
        "ANNCUR": lambda engine: engine == "ANNCUR 0.5",
        "ANNCUR, oracle split": lambda engine: engine.startswith("ANNCUR "),
        "AXN-like": lambda engine: engine.startswith("AXN-like "),
    }
    wanted = families.get(name, lambda engine: engine == name)
    members: dict[str, list[float]] = {}
    for row in rows:
        if row["kind"] == "cur" and row["budget"] == budget and wanted(row["engine"]):
            members.setdefault(row["engine"], []).append(row["recall"][str(k)])
    return max(members.values(), key=np.mean, default=None)


METHODS = (
    "random",
    "popularity",
    "first stage",
    "ANNCUR",
    "ANNCUR, oracle split",
    "ADACUR",
    "AXN-like",
    "whimbrel, no first stage",
    "whimbrel",
)


def tables(rows: list[Row]) -> str:
    """One table per k."""
    parts = []
    for k in KS:
        body = []
        for name in METHODS:
            cells: list[str | None] = [name]
            for budget in BUDGETS:
                values = choose(rows, name, budget, k)
                cells.append(
                    None
                    if values is None
                    else f"{np.mean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}"
                )
            body.append(cells)
        parts.append(
            f"Top-{k} recall at a budget of\n\n" + results.table(["method", *map(str, BUDGETS)], body)
        )
    return "\n\n".join(parts)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument(
        "--data", type=Path, help="folder of the real sets; without it only the synthetic bed"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        default=cur_beds.SCORES,
        help="matrix of another cross-encoder: scores, query_ids, item_ids in COLLECTION_*.npz",
    )
    parser.add_argument("--datasets", nargs="+", choices=cur_beds.NAMES)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/cur.jsonl"))
    args = parser.parse_args(argv)
    names = args.datasets or cur_beds.available(args.data)
    out = results.ResultFile(args.out)
    if args.command == "run":
        for name in names:
            measure(cur_beds.load(name, args.data, args.scores), args.splits, out)
    sys.stdout.write(results.report(out, names, tables) + "\n")


if __name__ == "__main__":
    harness.main(run)
