"""Rows of a result file of `whimbrel bench` as a run would have written them, and the command itself."""

import json
import sys
from pathlib import Path

from whimbrel.cli import main

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench/ is part of the checkout, not of the package

from bench import results  # noqa: E402

MACHINE = {
    "kind": "machine",
    "cpu": "test",
    "cores": 2,
    "isa": "none",
    "versions": {"whimbrel": "1"},
    "commit": "c0ffee",
}
COMMON = {
    "dataset": "toy",
    "n": 10,
    "dim": 2,
    "queries": 3,
    "metric": "l2",
    "checksum": "0123",
    "M": 16,
    "ef_construction": 200,
    "threads": 2,
    "k": 10,
    "timed": 100,
    "least_seconds": 0.1,
}
RECALLS = (0.85, 0.92, 0.97, 0.995)


def rows_of(engine, speed, repetitions=3, version="1"):
    """Build, sweep and passes of one engine whose speed falls tenfold from the first point to the last."""
    same = {**COMMON, "engine": engine, "seed": 1, "version": version, "core": None}
    build = {"seconds": 2.0, "peak_bytes": 2**21, "resident_bytes": 2**20, "disk_bytes": 2**20}
    points = [
        {"value": 10 * i, "recall": r, "distances": 100 * i, "hops": None} for i, r in enumerate(RECALLS, 1)
    ]
    rows = [
        {"kind": "build", **same, "repetition": 0, **build},
        {"kind": "sweep", **same, "repetition": 0, "parameter": "ef", "points": points},
    ]
    for repetition in range(repetitions):
        timed = []
        for point in points:
            qps = speed * (1 + 0.01 * repetition) / point["value"]
            names = ("single", "batch", "batch_threads", "p50_us", "p95_us", "p99_us")
            timed.append({"value": point["value"], "recall": point["recall"], **dict.fromkeys(names, qps)})
        rows.append({"kind": "pass", **same, "repetition": repetition, "points": timed})
    return rows


def plan_of(names):
    return {"kind": "plan", **COMMON, "engines": names, "seeds": [1]}


def write_rows(path, rows, machine=MACHINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in [machine, *rows]))
    return results.ResultFile(path)


def a_run(path, speed=1000.0, machine=MACHINE):
    """A whole result file: hnswlib, and whimbrel twice as fast and measured twice."""
    names = ["hnswlib", "whimbrel", "whimbrel#2"]
    rows = [plan_of(names), *rows_of("hnswlib", speed)]
    return write_rows(
        path, rows + rows_of("whimbrel", 2 * speed) + rows_of("whimbrel#2", 2.02 * speed), machine
    )


def bench(*words):
    """Run `whimbrel bench` from the checkout and return the message of its exit, or None."""
    try:
        main(["bench", *map(str, words)])
    except SystemExit as done:
        return done.code
    return None
