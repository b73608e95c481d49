"""What does a filter cost, beside searches without one by hnswlib and with hnswlib's own filter?

Filters let pass: 0.1, 1, 10 and 50 % of the rows at random; the rows of the query's own category, which is
that of its nearest row; and those of the next category, where the query is far from all of them. Categories
are the labels of the set, or the nearest of ten random rows.

One thread, queries in one call for each filter. ef is swept until the recall@10 against the exact nearest
rows that pass is high enough; the two ef around recall 0.95 are timed, all contestants of a filter in turns.
`hnswlib` has no filter, and its speed is what others are a share of; `hnswlib, filtered` calls a function in
C for each candidate, on fewer queries. A filter of whimbrel is made once, before the clock starts.

  python -m bench.macro.bench_filter --data DIR
  python -m bench.macro.bench_filter table
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, harness, machine, neighbors, results, stored_data
from bench.dataset import DataSet, Int64
from bench.macro.filter_tables import LEVEL, NO_FILTER, OWN_FILTER, K, report
from bench.macro.search_worker import make
from bench.worker import Worker

SHARES = (0.001, 0.01, 0.1, 0.5)
CATEGORIES = 10
HIGH_ENOUGH = 0.96

#: Queries that share a filter, the ids that it lets pass (None: all), and the exact neighbors among them.
Group = tuple[Int64, "Int64 | None", Int64]


class FilterWorker:
    """One index of one library in a process of its own, built there or loaded from the cache."""

    def __init__(self, engine: str, settings: dict[str, Any], stored: Path, cache: Path) -> None:
        rows = stored_data.read(stored)
        self.queries = rows.queries
        self.engine = make(engine, rows.metric, settings)
        folder = cache / f"{stored.name}-{engine}-{'-'.join(map(str, settings.values()))}".replace(":", "-")
        if folder.is_dir():
            self.engine.load(folder, rows.base.shape[1])
            return
        self.engine.build(rows, 0 if engine.startswith("whimbrel") else machine.n_cores())
        half = Path(tempfile.mkdtemp(dir=cache))
        self.engine.save(half)
        half.rename(folder)

    def use(self, groups: Sequence[Group], limit: int) -> int:
        """Search for these from now on, for `limit` queries at most; how many it are."""
        self.work, left = [], limit
        for queries, allowed, truth in groups:
            share = max(1, limit * len(queries) // len(self.queries)) if len(groups) > 1 else limit
            chosen = queries[: min(share, left)]
            if len(chosen) == 0:
                break
            left -= len(chosen)
            made = None if allowed is None else self.engine.make_filter(allowed)
            self.work.append((np.ascontiguousarray(self.queries[chosen]), made, truth[: len(chosen)]))
        return limit - left

    def search(self, ef: int) -> Iterator[tuple[NDArray[Any], Int64]]:
        """Found and true ids of each group."""
        self.engine.set_parameter(ef)
        for queries, allowed, truth in self.work:
            self.engine.filter = allowed
            yield self.engine.search(queries, K, 1), truth

    def sweep(self) -> list[dict[str, Any]]:
        """Recall over ef, and how many results are missing that exist; None where the library refuses."""
        points: list[dict[str, Any]] = []
        for ef in map(int, self.engine.values):
            try:
                hits, missing, total = 0, 0, 0
                for found, truth in self.search(ef):
                    real = truth >= 0
                    hits += sum(len(np.intersect1d(a, b[b >= 0])) for a, b in zip(found, truth, strict=True))
                    missing += int(real.sum() - (found >= 0).sum())
                    total += int(real.sum())
                points.append({"ef": ef, "recall": hits / total, "missing": missing})
            except RuntimeError:  # hnswlib has no array for fewer than k results
                points.append({"ef": ef, "recall": None, "missing": None})
            if (points[-1]["recall"] or 0) >= HIGH_ENOUGH:
                break
        return points

    def rate(self, ef: int) -> float:
        """Queries per second."""
        n = sum(len(queries) for queries, _, _ in self.work)
        return harness.rate(lambda: list(self.search(ef)), n)


def filters(rows: DataSet) -> Iterator[tuple[str, float, list[tuple[Int64, Int64]]]]:
    """Name, share of the rows that pass, and the queries and allowed ids of each group."""
    import whimbrel as wb

    n, everyone = len(rows.base), np.arange(len(rows.queries))
    shuffled = np.random.default_rng(0).permutation(n)
    for share in SHARES:
        yield f"random {100 * share:g} %", share, [(everyone, np.sort(shuffled[: max(1, int(share * n))]))]
    labels = rows.labels
    if labels is None:
        centers = rows.base[shuffled[:CATEGORIES]]
        labels = wb.knn(centers, rows.base, 1, rows.metric).ids[:, 0]
    own = labels[wb.knn(rows.base, rows.queries, 1, rows.metric).ids[:, 0]]
    kinds = np.unique(labels)
    for name, step in (("own category", 0), ("next category", 1)):
        chosen = kinds[(np.searchsorted(kinds, own) + step) % len(kinds)]
        groups = [(np.flatnonzero(chosen == kind), np.flatnonzero(labels == kind)) for kind in kinds]
        share = float(np.mean([np.mean(labels == kind) for kind in chosen]))
        yield name, share, [group for group in groups if len(group[0]) > 0]


def with_truth(rows: DataSet, groups: Sequence[tuple[Int64, Int64]]) -> list[Group]:
    """The groups of a filter with their exact neighbors; -1 where fewer than k pass."""
    import whimbrel as wb

    out: list[Group] = []
    for queries, allowed in groups:
        places = wb.knn(rows.base[allowed], rows.queries[queries], K, rows.metric).ids
        out.append((queries, allowed, np.where(places < 0, -1, allowed[places])))
    return out


def around(points: Sequence[dict[str, Any]]) -> list[int]:
    """The two ef around the level, or the one at the end of the sweep that is nearest to it."""
    known = [point for point in points if point["recall"] is not None]
    above = next((i for i, point in enumerate(known) if point["recall"] >= LEVEL), len(known))
    return [point["ef"] for point in known[max(0, above - 1) : above + 1]]


def measure(args: argparse.Namespace, name: str, out: results.ResultFile) -> None:
    """Write a row for each contestant of each filter, unless the file has it."""
    rows = data.load(name, args.data, args.n, args.queries)
    stored = stored_data.store(rows, args.cache)
    settings = {"M": args.M, "ef_construction": args.ef_construction, "seed": 1}
    common = {**rows.facts(), "checksum": rows.checksum()[:16], **settings, "core": machine.build_of_core()}
    common |= {"repetitions": args.repetitions, "version": machine.version("hnswlib")}
    all_rows: list[Group] = [
        (np.arange(len(rows.queries)), None, neighbors.ground_truth(rows, args.cache, K))
    ]
    names = [NO_FILTER, OWN_FILTER, *args.engines]
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for filter_name, share, groups in filters(rows):
            identity = {**common, "filter": filter_name, "share": share}
            there = {row["engine"] for row in out.find("filter", identity)}
            if there >= set(names):
                harness.log(f"{name}, {filter_name}: was there; another --out measures it again")
                continue
            for engine in names:
                if engine not in workers:
                    kind = "hnswlib" if engine in (NO_FILTER, OWN_FILTER) else engine
                    worker = Worker(engine, FilterWorker, kind, settings, stored, args.cache)
                    workers[engine] = stack.enter_context(worker)
            filtered = with_truth(rows, groups)
            cells: dict[str, dict[str, Any]] = {}
            for engine in names:
                limit = args.peer_queries if engine == OWN_FILTER else len(rows.queries)
                n = workers[engine].call("use", all_rows if engine == NO_FILTER else filtered, limit)
                points = workers[engine].call("sweep")
                cells[engine] = {"points": points, "searched": n, "rates": {}}
            timed = [(engine, ef) for engine in names for ef in around(cells[engine]["points"])]
            for engine, ef in harness.interleaved(timed, args.repetitions):
                cells[engine]["rates"].setdefault(str(ef), []).append(workers[engine].call("rate", ef))
            for engine, cell in cells.items():
                out.write("filter", {**identity, "engine": engine, **cell})
            harness.log(f"{name}, {filter_name}: done")


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mnist-784"), "filter.jsonl")
    parser.add_argument("--M", type=harness.positive, default=16)
    parser.add_argument("--ef-construction", type=harness.positive, default=200)
    parser.add_argument("--engines", nargs="+", default=["whimbrel", "whimbrel:codec=auto"], metavar="ENGINE")
    parser.add_argument("--repetitions", type=harness.positive, default=3)
    parser.add_argument(
        "--peer-queries", type=harness.positive, default=100, help="of hnswlib with its filter"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.n, args.queries = args.n or 5_000, min(args.queries, 200)
        args.repetitions, args.peer_queries = 1, 50
    harness.measure_and_print(args, harness.chosen_datasets(args), measure, report)


if __name__ == "__main__":
    harness.main(run)
