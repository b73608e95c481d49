"""How long do searches take beside a change of their index, against searches of a quiet one and hnswlib's?

One thread changes the index, one or two others search for one query at a time, all in one process. Changes:
rows added one by one and by the thousand, replaced and removed by the hundred, each over and over for some
seconds; then `compact` after a tenth was removed, and `refine`, once. Each starts with the same index, of
nine tenths of the rows. A row has the latencies of the searches that ended while the change worked. As many
threads as cores keep the scheduler out of the longest ones: on two cores, believe those of one searching
thread.

  python -m bench.macro.bench_change --data DIR
  python -m bench.macro.bench_change table
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, engines, harness, machine, results, stored_data
from bench.dataset import DataSet
from bench.machine import Row
from bench.macro.change_tables import report
from bench.macro.changing_engines import CHANGING
from bench.worker import Worker, WorkerError

K = 10
#: Rows of one call; 0: none, and no calls at all.
STEPS = {"quiet": 0, "add 1": 1, "add 1000": 1000, "update 100": 100, "remove 100": 100}
#: One call for the whole index.
ONCE = ("compact", "refine")


class ChangeWorker:
    """One library in a process of its own; the index is saved once and loaded for each measurement."""

    def __init__(self, specification: str, settings: Row, stored: Path, ef: int) -> None:
        self.rows = stored_data.read(stored)
        self.n, self.ef = len(self.rows.base) * 9 // 10, ef
        _, options = engines.parse(specification)
        kind = CHANGING[engines.plain_name(specification)]
        self.engine: Any = kind(self.rows.metric, **{**settings, **options})
        few = DataSet("", self.rows.metric, self.rows.base[: self.n], self.rows.queries, None, "")
        self.engine.build(few, machine.n_cores())
        self.folder = tempfile.TemporaryDirectory()
        self.engine.save(Path(self.folder.name))

    def run(self, change: str, searchers: int, seconds: float) -> Row:
        """Latencies of searches beside one kind of change."""
        self.engine.load(Path(self.folder.name), self.rows.base.shape[1])
        self.engine.set_parameter(self.ef)
        work = self.once(change) if change in ONCE else self.repeated(change, seconds)
        self.engine.search(self.rows.queries, K, 1)
        stop = threading.Event()
        times: list[list[float]] = [[] for _ in range(searchers)]
        threads = [threading.Thread(target=self.search, args=(times[i], i, stop)) for i in range(searchers)]
        for thread in threads:
            thread.start()
        start = time.perf_counter()
        try:
            changed = work()
        finally:
            took = time.perf_counter() - start
            stop.set()
            for thread in threads:
                thread.join()
        all_times = np.concatenate([np.array(mine) for mine in times])
        p50, p99, p999 = (float(p) for p in np.quantile(all_times, (0.5, 0.99, 0.999)) * 1e6)
        return {
            "qps": len(all_times) / took,
            "p50_us": p50,
            "p99_us": p99,
            "p999_us": p999,
            "max_us": float(np.max(all_times)) * 1e6,
            "changed": changed,
            "seconds": took,
        }

    def search(self, times: list[float], first: int, stop: threading.Event) -> None:
        """Search for one query after the other until told to stop."""
        queries, clock, search = self.rows.queries, time.perf_counter, self.engine.search_one
        at = first * len(queries) // 2
        while not stop.is_set():
            query = queries[at % len(queries)]
            start = clock()
            search(query, K)
            times.append(clock() - start)
            at += 1

    def repeated(self, change: str, seconds: float) -> Callable[[], int]:
        """A call that changes rows over and over; it returns how many."""
        step, fresh = STEPS[change], self.rows.base[self.n :]
        order = np.random.default_rng(0).permutation(self.n)[: self.n // 2]

        def run() -> int:
            done, end = 0, time.perf_counter() + seconds
            if step == 0:
                time.sleep(seconds)
            while step > 0 and time.perf_counter() < end:
                old = order[done : done + step]
                rows = fresh[np.arange(done, done + step) % len(fresh)]
                if change.startswith("add"):
                    self.engine.add(np.arange(self.n + done, self.n + done + step), rows)
                elif len(old) < step:
                    break
                elif change.startswith("update"):
                    self.engine.update(old, rows)
                else:
                    self.engine.remove(old)
                done += step
            return done

        return run

    def once(self, change: str) -> Callable[[], int]:
        """A call that changes the whole index; it returns the number of rows."""
        if change == "compact":
            gone: NDArray[np.int64] = np.random.default_rng(0).permutation(self.n)[: self.n // 10]
            self.engine.remove(gone)

        def run() -> int:
            getattr(self.engine, change)()
            return self.n

        return run


def measure(args: argparse.Namespace, name: str, out: results.ResultFile) -> None:
    """Write a row for each change that the file does not have."""
    rows = data.load(name, args.data, args.n, args.queries)
    stored = stored_data.store(rows, args.cache)
    settings = {"M": args.M, "ef_construction": args.ef_construction, "seed": 1}
    common = {**rows.facts(), "checksum": rows.checksum()[:16], **settings, "ef": args.ef}
    common |= {"step_seconds": args.seconds, "core": machine.build_of_core()}
    for engine in args.engines:
        package = CHANGING[engines.plain_name(engine)].package
        common_of = {**common, "engine": engine, "version": machine.version(package)}
        cells = [
            {"change": change, "searchers": searchers, "repetition": repetition}
            for repetition in range(args.repetitions)
            for searchers in args.searchers
            for change in (*STEPS, *(ONCE if package == "whimbrel" else ()))
        ]
        cells = [cell for cell in cells if not out.find("change", {**common_of, **cell})]
        if not cells:
            harness.log(f"{name}, {engine}: was there; another --out measures it again")
            continue
        with Worker(engine, ChangeWorker, engine, settings, stored, args.ef) as worker:
            for cell in cells:
                try:
                    row = worker.call("run", cell["change"], cell["searchers"], args.seconds)
                except WorkerError as error:
                    out.write("failed", {**common_of, **cell, "reason": str(error)})
                    raise
                out.write("change", {**common_of, **cell, **row})
                harness.log(f"{name}, {engine}, {cell['change']}, {cell['searchers']} searching: done")


def known_engine(text: str) -> str:
    """One of the libraries that can change, with its options; for argparse."""
    if engines.plain_name(text) not in CHANGING:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(CHANGING)}, got {text!r}")
    return text


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = harness.parser(__doc__, ("minilm-100k", "mixlid"), "change.jsonl")
    parser.add_argument("--M", type=harness.positive, default=16)
    parser.add_argument("--ef-construction", type=harness.positive, default=200)
    parser.add_argument("--ef", type=harness.positive, default=64, help="of the searches")
    parser.add_argument("--engines", nargs="+", type=known_engine, default=["whimbrel", "hnswlib"])
    parser.add_argument("--searchers", type=harness.positive, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each change that is repeated")
    parser.add_argument("--repetitions", type=harness.positive, default=3)
    args = parser.parse_args(argv)
    if args.quick:
        args.n, args.seconds, args.repetitions = args.n or 4_000, min(args.seconds, 0.2), 1
    harness.measure_and_print(args, harness.chosen_datasets(args), measure, report)


if __name__ == "__main__":
    harness.main(run)
