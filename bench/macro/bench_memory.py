"""Is `memory_usage()` what the process really grows by?

Each index is built in a new process from a memory-mapped file, after a small index that pays for imports,
threads and allocator. Growth is that of anonymous resident memory (RssAnon), so the pages of the input file
do not count. Freed memory that the allocator still holds is given back (malloc_trim) before the second of
the two readings. Linux only.

  python -m bench.macro.bench_memory --data DIR
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench import data, harness, machine, memory, results
from bench.machine import Row
from bench.worker import Worker, WorkerError


class MemoryBench:
    """Builds one index in a process of its own."""

    def run(self, path: Path, metric: str, M: int, threads: int) -> Row:
        """Growth of the process, twice, and what the index says."""
        import whimbrel as wb

        base = np.load(path, mmap_mode="r")
        small = wb.HnswIndex.build(base[:2_000], metric=metric, M=M, threads=threads)
        del small
        memory.trim()
        before = memory.anonymous_bytes()
        index = wb.HnswIndex.build(base, metric=metric, M=M, threads=threads)
        gc.collect()
        after = memory.anonymous_bytes()
        memory.trim()
        return {
            "said_bytes": index.memory_usage(),
            "grown_bytes": after - before,
            "grown_bytes_trimmed": memory.anonymous_bytes() - before,
            "n": len(base),
            "dim": base.shape[1],
        }


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """Write one row for each M."""
    rows = data.load(dataset, args.data, args.n, args.queries)
    args.cache.mkdir(parents=True, exist_ok=True)
    path = args.cache / f"{rows.name}-{rows.checksum()[:16]}-base.npy"
    np.save(path, rows.base)
    name, metric = rows.name, rows.metric
    del rows
    for M in args.M:
        with Worker("whimbrel", MemoryBench) as worker:
            try:
                row = worker.call("run", path, metric, M, args.threads)
                facts = {"dataset": name, "metric": metric, "M": M, "threads": args.threads}
                out.write("memory", {**facts, **row})
            except WorkerError as error:
                out.write("failed", {"dataset": name, "engine": f"whimbrel M={M}", "reason": str(error)})
    path.unlink()


def tables(rows: Sequence[Row]) -> str:
    """One line per index."""
    body = []
    for row in (row for row in rows if row["kind"] == "memory"):
        said, grown, trimmed = row["said_bytes"], row["grown_bytes"], row["grown_bytes_trimmed"]
        body.append(
            [
                f"{row['n']:,} x {row['dim']}",
                row["M"],
                row["threads"],
                f"{said / row['n']:,.0f}",
                f"{said / 2**20:,.1f}",
                f"{grown / 2**20:,.1f}",
                f"{100 * (said / grown - 1):+.1f} %",
                f"{trimmed / 2**20:,.1f}",
                f"{100 * (said / trimmed - 1):+.1f} %",
            ]
        )
    header = [
        "index",
        "M",
        "threads",
        "bytes per vector",
        "memory_usage() MiB",
        "process grew by MiB",
        "difference",
        "after malloc_trim",
        "difference",
    ]
    return results.table(header, body)


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mnist-784", "mixlid", "gauss32"), "memory.jsonl")
    parser.add_argument("--M", type=harness.positive, nargs="+", default=[16])
    parser.add_argument("--threads", type=harness.positive, default=machine.n_cores())
    args = parser.parse_args(argv)
    memory.anonymous_bytes()
    if args.quick:
        args.n = args.n or 20_000
    harness.measure_and_print(
        args, harness.chosen_datasets(args), measure, partial(results.report, tables=tables)
    )


if __name__ == "__main__":
    harness.main(run)
