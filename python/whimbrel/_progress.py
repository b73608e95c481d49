"""Progress of long calls: nothing, the caller's callback, a tqdm bar, or a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

__all__ = ["Callback", "Progress", "reporter"]

Callback: TypeAlias = Callable[[int, int], object]
Progress: TypeAlias = bool | Callback

SECONDS_BETWEEN_LINES = 3.0


@contextmanager
def reporter(progress: Progress, label: str) -> Iterator[Callback | None]:
    """Give the callback for the core; close what it opened at the end, whichever way it ends.

    Parameters
    ----------
    progress : bool or callable
        A callable is passed on: ``progress(done, total)``, about ten times a second, from the thread of the
        call. It cancels by raising, or by returning ``False``, which raises `CancelledError`.
    label : str
        What is going on, in a word.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield None
    else:
        try:
            from tqdm import tqdm
        except ImportError:
            yield _lines(label)
            return
        with tqdm(desc=label, unit_scale=True) as bar:

            def update(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield update


def _lines(label: str) -> Callback:
    last, shown = time.monotonic(), -1

    def report(done: int, total: int) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if done != shown and (done == total or now - last >= SECONDS_BETWEEN_LINES):
            last, shown = now, done
            print(f"{label}: {done:,} of {total:,} ({done / max(total, 1):.0%})", file=sys.stderr)

    return report
