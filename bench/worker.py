"""One object in a process of its own: its own memory, thread pools and environment.

Benches keep one worker per library and let only one of them work at a time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

# Threads of a library that waits must not spin beside the one that is measured.
QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


class WorkerError(Exception):
    """The worker raised, died or took too long."""


class Worker:
    """Makes `factory(*args)` in a new process and calls its methods there.

    Parameters
    ----------
    factory : callable
        Module level, so that it can be pickled by name.
    environment : mapping of str to str or None
        Variables of the process; None removes one.
    """

    def __init__(
        self,
        name: str,
        factory: Callable[..., object],
        *args: object,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, factory, args), daemon=True)
        with _environment({**QUIET, **(environment or {})}):
            self._process.start()
        theirs.close()

    def call(self, method: str, *args: object, limit: float = 3600) -> Any:
        """Result of one method; waits for it at most `limit` seconds."""
        self.start(method, *args)
        return self.result(limit)

    def start(self, method: str, *args: object) -> None:
        """Begin a call; its result is to be fetched before the next one."""
        self._method = method
        try:
            self._pipe.send((method, args))
        except OSError as error:
            raise self._death() from error

    def result(self, limit: float = 3600) -> Any:
        """Result of the call that was begun."""
        try:
            if not self._pipe.poll(limit):
                raise WorkerError(f"{self.name}: {self._method} took more than {limit:.0f} s")
            failure, result = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if failure:
            raise WorkerError(f"{self.name}: {failure}")
        return result

    def _death(self) -> WorkerError:
        self._process.join(5)
        return WorkerError(f"{self.name}: died in {self._method}, exit code {self._process.exitcode}")

    @staticmethod
    def finished(workers: Iterable[Worker]) -> list[Worker]:
        """Wait for the first of some calls to end; the workers that have a result, or died."""
        by_pipe = {worker._pipe: worker for worker in workers}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe))]  # type: ignore[index]

    def close(self, patience: float = 2) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(2 if error is None else 0)


def _serve(pipe: Connection, factory: Callable[..., object], args: tuple[object, ...]) -> None:
    os.dup2(2, 1)  # stdout is for tables, whatever a library prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    served: object = None
    with contextlib.suppress(EOFError):
        while True:
            method, values = pipe.recv()
            try:
                served = factory(*args) if served is None else served
                pipe.send((None, getattr(served, method)(*values)))
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{os.path.basename(last.filename)}:{last.lineno}"
                pipe.send((f"{type(error).__name__}: {error} ({where})", None))


@contextlib.contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
