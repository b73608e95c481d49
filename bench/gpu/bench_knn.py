"""Exact search on a GPU against torch, in one process: interleaved medians beside the ceilings of the device.

torch does what its users write: a matrix product and topk, in half precision with float32 scores, or in IEEE
float32. Rows have unit length, so that inner products and l2 have the same neighbors, and torch is spared the
norms. Queries go through torch in tiles, of the size that is faster for it. Small batches are called ten
times in a row and the time divided, so that the host's share of a call hides where it can.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch
import whimbrel as wb

TILE_BYTES = (2**28, 2**32)  # of scores
SMALL_BATCH = 184  # below, the time is that of reading the rows
REPEATS = 10
Row = list[str]


def milliseconds(call: Callable[[], object]) -> float:
    """Time between two events around a call."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def interleaved(calls: dict[str, Callable[[], object]], rounds: int, repeats: int = 1) -> dict[str, float]:
    """Median milliseconds of each call, one of each in turn, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            time = milliseconds(lambda call=call: [call() for _ in range(repeats)]) / repeats  # type: ignore[misc]
            if number > 0:
                times[name].append(time)
    return {name: statistics.median(values) for name, values in times.items()}


def ceilings() -> tuple[float, float]:
    """Bytes per second of a device copy (read and written), operations per second of a bfloat16 product."""
    source = torch.empty(2**32, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = interleaved({"copy": lambda: target.copy_(source), "product": lambda: a @ b}, 7)
    return 2 * 2**32 / times["copy"] * 1e3, 2 * 8192**3 / times["product"] * 1e3


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    rows = torch.randn(n, d, device="cuda")
    return rows / rows.norm(dim=1, keepdim=True)


def torch_search(
    queries: torch.Tensor, rows: torch.Tensor, k: int, tile: int = TILE_BYTES[1]
) -> torch.Tensor:
    """Ids of the k largest inner products."""
    step = max(1, tile // (4 * len(rows)))
    found = []
    for first in range(0, len(queries), step):
        part = queries[first : first + step]
        if rows.dtype == torch.float32:
            scores = part @ rows.T
        else:
            scores = torch.mm(part, rows.T, out_dtype=torch.float32)
        found.append(scores.topk(k, dim=1).indices)
    return torch.cat(found)


def faster_tile(queries: torch.Tensor, rows: torch.Tensor, k: int) -> int:
    """Return the size of tile with which torch takes less time, each tried twice."""
    times = interleaved({str(n): lambda n=n: torch_search(queries, rows, k, n) for n in TILE_BYTES}, 1)  # type: ignore[misc]
    return int(min(times, key=times.__getitem__))


def recall(found: torch.Tensor, true: torch.Tensor) -> float:
    """Share of the true ids that were found, over some queries."""
    step = max(1, len(true) // 500)
    pairs = zip(found[::step].cpu().numpy(), true[::step].cpu().numpy(), strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


def is_exact(queries: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor, distances: torch.Tensor) -> bool:
    """Whether some queries have the neighbors of a full sort by (distance, id), bit for bit."""
    some = torch.arange(0, len(queries), max(1, len(queries) // 8), device="cuda")[:8]
    values, order = torch.sort(wb.pairwise_distances(rows, queries[some]), dim=1, stable=True)
    k = ids.shape[1]
    return bool((order[:, :k] == ids[some]).all() and (values[:, :k] == distances[some]).all())


def flashlib_search() -> str:
    """Only where it is installed; there is no build of it for every machine."""
    return "missing" if importlib.util.find_spec("flashlib") is None else "not run"


def case(
    queries: torch.Tensor, rows: torch.Tensor, half: torch.Tensor, matrix: wb.cuda.DeviceMatrix, k: int,
    rounds: int, ceiling: tuple[float, float],
) -> Row:  # fmt: skip
    q, (n, d) = len(queries), rows.shape
    half_queries = queries.half()
    out = (
        torch.empty((q, k), dtype=torch.int64, device="cuda"),
        torch.empty((q, k), dtype=torch.float32, device="cuda"),
    )
    repeats = REPEATS if q <= SMALL_BATCH else 1
    half_tile, float_tile = faster_tile(half_queries, half, k), faster_tile(queries, rows, k)
    times = interleaved(
        {
            "whimbrel": lambda: matrix.search(queries, k, out=out),
            "fast": lambda: matrix.search(queries, k, precision="fast"),
            "half": lambda: torch_search(half_queries, half, k, half_tile),
            "float": lambda: torch_search(queries, rows, k, float_tile),
        },
        rounds,
        repeats,
    )
    found = matrix.search(queries, k)
    ours = times["whimbrel"]
    operations, bytes_read = 2 * q * n * d, 2 * n * d
    share = (
        f"{operations / ours * 1e3 / ceiling[1]:.0%} of bf16"
        if q > SMALL_BATCH
        else f"{bytes_read / ours * 1e3 / ceiling[0]:.0%} of copy"
    )
    return [
        f"{q} x {n} x {d}",
        str(k),
        f"{ours:.3f}",
        f"{operations / ours / 1e9:.0f}",
        share,
        f"{times['fast']:.3f}",
        f"{times['half']:.3f}",
        f"{times['half'] / ours:.2f}",
        f"{recall(torch_search(half_queries, half, k), found.ids):.4f}",
        f"{times['float']:.3f}",
        f"{times['float'] / ours:.2f}",
        f"{int(found.stats[0]) / q:.2%}",
        "yes" if is_exact(queries, rows, found.ids, found.distances) else "NO",
    ]


HEADER = [
    "queries x rows x dim", "k", "ms", "TFLOP/s", "share of ceiling", "unproven, ms", "torch fp16, ms",
    "ratio", "its recall", "torch fp32, ms", "ratio", "certified", "exact (spot check)",
]  # fmt: skip


def table(header: Row, rows: list[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def graph(rows: torch.Tensor, k: int, ceiling: tuple[float, float]) -> Row:
    """The k-NN graph, and the LID of every row from it."""
    n, d = rows.shape
    matrix = wb.cuda.DeviceMatrix(rows)
    time = milliseconds(lambda: matrix.search(k=k))
    found = matrix.search(k=k)
    lid = milliseconds(lambda: wb.estimate_lid(neighbors=(found.ids, found.distances), k=k))
    rate = 2 * n * n * d / time * 1e3
    return [
        f"{n} x {d}",
        str(k),
        f"{time:.1f}",
        f"{rate / 1e12:.0f}",
        f"{rate / ceiling[1]:.0%}",
        f"{int(found.stats[0]) / n:.2%}",
        f"{lid:.2f}",
    ]


def run() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 384, 768])
    parser.add_argument("--ks", type=int, nargs="+", default=[10, 100])
    parser.add_argument(
        "--batches", type=int, nargs="*", default=[1, 16, 64], help="small batches, at k = 10"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-graph", action="store_true")
    args = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    ceiling = ceilings()
    say(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; whimbrel {wb.__version__}; medians of "
        f"{args.rounds}, interleaved. Ceilings in this run: device copy {ceiling[0] / 1e12:.2f} TB/s, "
        f"bf16 product {ceiling[1] / 1e12:.0f} TFLOP/s. flashlib: {flashlib_search()}.\n")  # fmt: skip
    lines, preparing = [], []
    for d in args.dims:
        rows, queries = unit_rows(args.rows, d, 0), unit_rows(args.queries, d, 1)
        half = rows.half()
        preparing.append(f"{milliseconds(lambda rows=rows: wb.cuda.DeviceMatrix(rows)):.1f} ms at {d}")
        matrix = wb.cuda.DeviceMatrix(rows)
        for k in args.ks:
            lines.append(case(queries, rows, half, matrix, k, args.rounds, ceiling))
            progress(lines[-1])
        for q in args.batches:
            lines.append(case(queries[:q], rows, half, matrix, 10, 2 * args.rounds, ceiling))
            progress(lines[-1])
        del rows, half, matrix
        torch.cuda.empty_cache()
    say(table(HEADER, lines))
    say(f"\nPreparing the rows, once: {', '.join(preparing)} dimensions.")
    if not args.no_graph:
        header = ["rows x dim", "k", "ms", "TFLOP/s", "of bf16", "certified", "LID from it, ms"]
        graphs = [graph(unit_rows(args.rows, args.dims[0], 2), k, ceiling) for k in args.ks]
        say("\n" + table(header, graphs))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress(line: Row) -> None:
    sys.stderr.write(" ".join(line) + "\n")


if __name__ == "__main__":
    run()
