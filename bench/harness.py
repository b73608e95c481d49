"""What all benches share: timing, flags, errors. What becomes of the numbers: results.py."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from . import data, neighbors, results
from .dataset import DataError
from .worker import WorkerError

T = TypeVar("T")
RECALL_LEVELS = (0.90, 0.95, 0.99)


# ---------------------------------------------------------------- measuring


def rate(call: Callable[[], object], items: int, least_seconds: float = 0.2) -> float:
    """Items per second of a call that handles `items`, repeated until it has taken long enough to time."""
    rounds, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < least_seconds or rounds == 0:
        call()
        rounds += 1
    return rounds * items / elapsed


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(items: Sequence[T], repetitions: int, first: int = 0) -> Iterator[T]:
    """Each item once per repetition, in a new order each time, so that a slow spell falls on all alike."""
    for repetition in range(first, first + repetitions):
        order = list(items)
        random.Random(repetition).shuffle(order)
        yield from order


# ---------------------------------------------------------------- command lines


FILES = ", or files: a .hdf5 of ann-benchmarks, or BASE,QUERIES,METRIC"


def parser(
    description: str | None,
    datasets: Sequence[str],
    out: str,
    known: Callable[[str], str] = data.known_name,
    names: Sequence[str] = data.NAMES,
) -> argparse.ArgumentParser:
    """Flags that every macro bench has; `known` returns the name of a data set that there is."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "command",
        nargs="?",
        choices=("run", "table"),
        default="run",
        help="measure and print the tables (default), or only print those of --out",
    )
    result.add_argument("--data", type=Path, help="folder of the real sets; without it only generated ones")
    result.add_argument(
        "--datasets",
        nargs="+",
        type=known,
        metavar="NAME",
        default=None,
        help=f"of {', '.join(names)}{FILES if known is data.known_name else ''}; "
        f"default: {', '.join(datasets)}, as available",
    )
    result.add_argument("--n", type=positive, help="use a fixed random subset of this many rows")
    result.add_argument("--queries", type=positive, default=2_000, help="use at most this many queries")
    result.add_argument(
        "--cache",
        type=Path,
        default=neighbors.DEFAULT_CACHE,
        help="folder for ground truth (default: %(default)s)",
    )
    result.add_argument(
        "--out",
        type=Path,
        default=Path("bench/results") / out,
        help="JSON lines, appended (default: %(default)s)",
    )
    result.add_argument("--quick", action="store_true", help="small sets, few repetitions: does it run?")
    result.set_defaults(default_datasets=datasets)
    return result


def positive(text: str) -> int:
    """A whole number of at least 1; for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def chosen_datasets(args: argparse.Namespace) -> list[str]:
    """Sets that were named, or the default ones that can be had."""
    if args.datasets:
        return list(args.datasets)
    return data.available(args.default_datasets, args.data)


def measure_and_print(
    args: argparse.Namespace,
    datasets: Sequence[str],
    measure: Callable[[argparse.Namespace, str, results.ResultFile], None],
    report: Callable[[results.ResultFile, Sequence[str]], str],
) -> None:
    """Measure each data set, unless only tables are wanted; print what the file has of them."""
    out = results.ResultFile(args.out)
    if args.command == "run":
        for dataset in datasets:
            measure(args, dataset, out)
    sys.stdout.write(report(out, [data.short_name(dataset) for dataset in datasets]) + "\n")


def log(message: str) -> None:
    """Progress, on stderr, so that stdout holds nothing but tables."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def main(run: Callable[[], None]) -> None:
    """Run a script; what the user can mend is one line and not a traceback."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run()
    except (DataError, WorkerError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; finished rows are kept") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    """Do as Ctrl-C does, once: some senders signal a process and then its group."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
