"""What bench_search.py does in the process of an engine: build one index, or search one that was built."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench import engines, harness, memory, neighbors, stored_data
from bench.dataset import DataSet, Int64
from bench.machine import Row

WARM_ROWS = 1_000
RECALL_STOP = 0.993
FLAT_STEPS = 5  # so many values of the parameter without gain end a sweep
LONGEST = 1.5  # seconds that one timed call of a slow engine may take


def make(specification: str, metric: str, settings: Row) -> engines.Engine:
    """The adapter of an engine; options of the specification win over the common settings."""
    kind, options = engines.parse(specification)
    common = {name: settings[name] for name in ("M", "ef_construction", "seed")}
    return kind(metric, **{**common, **options})


class BuildBench:
    """Builds one index in a process of its own, and saves it."""

    def run(self, specification: str, settings: Row, stored: Path, folder: Path, threads: int) -> Row:
        """Seconds, memory and size of one index, which is left in `folder`."""
        rows = stored_data.read(stored)
        engine = make(specification, rows.metric, settings)
        self._warm_up(engine, rows, threads)
        engine.prepare(rows)
        memory.trim()
        before = memory.resident_bytes()
        peak_known = memory.reset_peak()
        cpu = time.process_time()
        seconds = harness.seconds(lambda: engine.build(rows, threads))
        cpu = time.process_time() - cpu
        peak = memory.peak_bytes() if peak_known else None
        memory.trim()
        after = memory.resident_bytes()
        level0 = engine.level0()
        engine.save(folder)
        return {
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_bytes": None if peak is None or before is None else peak - before,
            "index_bytes": engine.index_bytes(),
            "resident_bytes": None if after is None or before is None else after - before,
            "disk_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            **(asdict(level0) if level0 else {}),
        }

    def _warm_up(self, engine: engines.Engine, rows: DataSet, threads: int) -> None:
        """Import, start threads, touch code, on a few rows."""
        labels = None if rows.labels is None else rows.labels[:WARM_ROWS]
        few = DataSet("few", rows.metric, rows.base[:WARM_ROWS].copy(), rows.queries, labels, "")
        engine.prepare(few)
        engine.build(few, threads)


class SearchBench:
    """Searches one index, loaded from its files, in a process of its own."""

    def __init__(self, specification: str, settings: Row, stored: Path, truth: Int64, folder: Path) -> None:
        rows = stored_data.read(stored, base=False)
        self.queries, self.truth, self.n = rows.queries, truth, len(rows.base)
        self.k = truth.shape[1]
        self.engine = make(specification, rows.metric, settings)
        self.load_seconds = harness.seconds(lambda: self.engine.load(folder, rows.base.shape[1]))
        # Two threads in the first search of pyvsag wait for each other forever: one has the lock of a static
        # object that imports NumPy, the other the interpreter's.
        self.engine.set_parameter(self.engine.values[0])
        self.engine.search_one(self.queries[0], self.k)

    def sweep(self, threads: int) -> Row:
        """Recall and costs over the search parameter, until the recall is high enough or stands still."""
        points: list[Row] = []
        for value in self.engine.values:
            if value > self.n:
                break
            self.engine.set_parameter(value)
            start = time.perf_counter()
            found, counts = self.engine.search_counted(self.queries, self.k, threads)
            rate = len(self.queries) / (time.perf_counter() - start)
            recall = neighbors.recall(found, self.truth)
            points.append({"value": value, "recall": recall, **asdict(counts), "rate": rate})
            stale = len(points) > FLAT_STEPS and recall < points[-1 - FLAT_STEPS]["recall"] + 5e-4
            if recall >= RECALL_STOP or (stale and recall > 0.5):
                break
        return {"points": points, "parameter": self.engine.parameter, "load_seconds": self.load_seconds}

    def speeds(self, points: Sequence[Row], timed: int, threads: int, least: float) -> list[Row]:
        """Queries per second and latencies at some points of the sweep."""
        return [
            {"value": point["value"], "recall": point["recall"], **self._speed(point, timed, threads, least)}
            for point in points
        ]

    def _speed(self, point: Row, timed: int, threads: int, least: float) -> Row:
        engine = self.engine
        engine.set_parameter(point["value"])
        affordable = int(point["rate"] / threads * LONGEST)  # an exact scan would take minutes
        queries = np.ascontiguousarray(self.queries[: max(10, min(timed, affordable))])
        engine.search(queries[:50], self.k, 1)  # warm caches, and the pool below
        times: list[float] = []
        while not times or sum(times) < least:
            for query in queries:
                times.append(harness.seconds(lambda query=query: engine.search_one(query, self.k)))  # type: ignore[misc]
        batch = harness.rate(lambda: engine.search(queries, self.k, 1), len(queries), least)
        engine.search(queries[:50], self.k, threads)
        batch_threads = harness.rate(lambda: engine.search(queries, self.k, threads), len(queries), least)
        p50, p95, p99 = (float(p) for p in np.quantile(times, (0.5, 0.95, 0.99)) * 1e6)
        return {
            "single": len(times) / sum(times),
            "batch": batch,
            "batch_threads": batch_threads,
            "p50_us": p50,
            "p95_us": p95,
            "p99_us": p99,
        }
