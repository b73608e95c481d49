"""Does the order of insertion change recall, at a fixed ef and at an equal number of distance computations?

Builds one index for each cell of the grid (data set, M, engine variant, order, seed), on one thread, and
sweeps ef. Variants: whimbrel inserting one at a time ("sequential") and in doubling batches ("batched"),
each with and without keeping pruned candidates on level 0; and hnswlib, one thread. hnswlib does not give
its distance counts to Python: its rows have figures at fixed ef only.

LID is the maximum likelihood estimate from the exact 100 nearest neighbors. The seed decides the levels,
the random order, and the order within a category. Each finished cell is one row of the result file and is
not computed again.

  python -m bench.macro.bench_insertion_order --data DIR --jobs 2
  python -m bench.macro.bench_insertion_order table
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, engines, harness, neighbors, results
from bench.dataset import DataSet
from bench.machine import Row
from bench.macro.insertion_order_tables import ORDERS, SHOWN_EFS, K, recall_at, report
from bench.worker import Worker, WorkerError

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 320)
VARIANTS: dict[str, dict[str, Any]] = {
    "whimbrel sequential": {"engine": "whimbrel", "batch_growth": 1.0, "keep_pruned": False},
    "whimbrel sequential keep_pruned": {"engine": "whimbrel", "batch_growth": 1.0, "keep_pruned": True},
    "whimbrel batched": {"engine": "whimbrel", "batch_growth": 2.0, "keep_pruned": False},
    "whimbrel batched keep_pruned": {"engine": "whimbrel", "batch_growth": 2.0, "keep_pruned": True},
    "hnswlib": {"engine": "hnswlib"},
}


@dataclass(frozen=True)
class Cell:
    """One index to build."""

    dataset: str
    M: int
    variant: str
    order: str
    seed: int


class OrderBench:
    """Builds the indexes of cells, in a process of its own."""

    def __init__(
        self, folder: Path | None, n: int | None, queries: int, cache: Path, ef_construction: int
    ) -> None:
        self.source = (folder, n, queries)
        self.cache, self.ef_construction = cache, ef_construction

    def run(self, cell: Cell) -> Row:
        """Build one index and sweep ef."""
        rows = data.load_cached(cell.dataset, *self.source)
        truth = neighbors.ground_truth(rows, self.cache, K)
        order = insertion_order(rows, cell, self.cache)
        options = dict(VARIANTS[cell.variant])
        kind = engines.ENGINES[options.pop("engine")]
        engine = kind(rows.metric, M=cell.M, ef_construction=self.ef_construction, seed=cell.seed, **options)
        seconds = harness.seconds(lambda: engine.build(rows, 1, order))
        points = []
        for ef in EFS:
            engine.set_parameter(ef)
            found, counts = engine.search_counted(rows.queries, K, 1)
            points.append({"ef": ef, "recall": neighbors.recall(found, truth), **asdict(counts)})
        level0 = engine.level0()
        return {"build_seconds": seconds, **(asdict(level0) if level0 else {}), "points": points}


def insertion_order(rows: DataSet, cell: Cell, cache: Path) -> NDArray[np.int64]:
    """Permutation of a cell; the LID of a data set is computed once and kept."""
    import whimbrel as wb

    if cell.order in ("lid_descending", "lid_ascending"):
        return wb.insertion_order(neighbors.exact_lid(rows, cache), descending=cell.order == "lid_descending")
    labels = rows.labels if cell.order == "category" else None
    return wb.named_order(rows.base, cell.order, labels=labels, seed=cell.seed, metric=rows.metric, threads=1)


def cells(args: argparse.Namespace, dataset: str, has_labels: bool) -> Iterator[Cell]:
    """The grid, one seed after the other, so that an unfinished one has all orders."""
    for seed in range(args.seeds):
        for M in args.M:
            for variant in args.variants:
                for order in args.orders:
                    if order != "category" or has_labels:
                        yield Cell(dataset, M, variant, order, seed)


def identity(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same measurement."""
    names = ("checksum", "ef_construction", "dataset", "M", "variant", "order", "seed")
    return tuple(row[name] for name in names)


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Compute the cells that the file does not have yet, on `jobs` processes."""
    rows = data.load(dataset, args.data, args.n, args.queries)
    common = {
        **rows.facts(),
        "checksum": rows.checksum()[:16],
        "ef_construction": args.ef_construction,
        "k": K,
        "jobs": args.jobs,
    }
    done = {identity(row) for row in out.rows("order")}
    todo = [
        cell
        for cell in cells(args, dataset, rows.labels is not None)
        if identity({**asdict(cell), **common}) not in done
    ]
    if not todo:
        return
    harness.log(f"{dataset}: {len(todo)} indexes to build")
    neighbors.ground_truth(rows, args.cache, K)
    if any(cell.order.startswith("lid") for cell in todo):
        lid = neighbors.exact_lid(rows, args.cache)
        quantiles = [round(float(value), 2) for value in np.quantile(lid, (0.05, 0.5, 0.95))]
        out.write("lid", {**common, "quantiles_5_50_95": quantiles})
    del rows

    def worker() -> Worker:
        return Worker(dataset, OrderBench, args.data, args.n, args.queries, args.cache, args.ef_construction)

    idle = [worker() for _ in range(min(args.jobs, len(todo)))]
    busy: dict[Worker, Cell] = {}
    try:
        while todo or busy:
            while idle and todo:
                busy[idle[-1]] = todo.pop(0)
                idle[-1].start("run", busy[idle[-1]])
                idle.pop()
            for one in Worker.finished(busy):
                cell = busy.pop(one)
                try:
                    row = one.result()
                except WorkerError as error:
                    harness.log(f"FAILED {cell}: {error}")
                    out.write(
                        "failed", {"dataset": common["dataset"], "engine": str(cell), "reason": str(error)}
                    )
                    one.close()
                    idle.append(worker())
                    continue
                out.write("order", {**asdict(cell), **common, **row})
                idle.append(one)
                recalls = " ".join(f"{recall_at(row, ef):.3f}" for ef in SHOWN_EFS)
                harness.log(
                    f"{dataset} M={cell.M} {cell.variant}, {cell.order}, seed {cell.seed}: "
                    f"{row['build_seconds']:.1f} s, {recalls}; {len(todo) + len(busy)} left"
                )
    finally:
        for one in [*idle, *busy]:
            one.close()


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    datasets = ("mnist-784", "minilm-100k", "mixlid", "gauss32", "tail")
    parser = harness.parser(__doc__, datasets, "insertion_order.jsonl")
    parser.add_argument("--M", type=harness.positive, nargs="+", default=[16, 8])
    parser.add_argument("--ef-construction", type=harness.positive, default=128)
    parser.add_argument("--seeds", type=harness.positive, default=3)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        "--jobs", type=harness.positive, default=1, help="processes; more disturb the build seconds"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.n, args.queries, args.seeds = args.n or 4_000, min(args.queries, 500), 2
    harness.measure_and_print(args, harness.chosen_datasets(args), measure, report)


if __name__ == "__main__":
    harness.main(run)
