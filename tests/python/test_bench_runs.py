"""Runs of `whimbrel bench`: what is kept, resumed and said, with stand-ins for the processes that measure."""

import os
import signal

import numpy as np
import pytest
from bench_rows import COMMON, bench, rows_of
from whimbrel.cli import main

from bench import harness, results
from bench.macro import search_run
from bench.worker import WorkerError


class FakeWorker:
    """Answers in place of a process; dies or is interrupted when it is told to."""

    calls: tuple = ()
    dies_in: tuple = ()
    interrupted_at: int | None = None

    def __init__(self, name, factory, *args, environment=None):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def call(self, method, *args, limit=0):
        if len(self.calls) == self.interrupted_at:
            raise KeyboardInterrupt
        self.calls.append((self.name, method))
        if (self.name, method) in self.dies_in:
            raise WorkerError(f"{self.name}: died in {method}, exit code -9")
        kind = {"run": 2, "sweep": 3, "speeds": 4}[method]
        rows = rows_of(self.name, 1000.0, repetitions=1)
        row = {"build": rows[0], "sweep": rows[1], "speeds": rows[2]}[
            {2: "build", 3: "sweep", 4: "speeds"}[kind]
        ]
        build, sweep, timed = rows_of(self.name, 1000.0, repetitions=1)
        if method == "speeds":
            return timed["points"]
        row = build if method == "run" else sweep
        identity = {*COMMON, "kind", "repetition", "engine", "seed", "version", "core"}
        return {name: value for name, value in row.items() if name not in identity}


@pytest.fixture
def fake(monkeypatch, in_checkout, tmp_path):
    """`whimbrel bench` on a small set of files with fake processes; the class that can be told to fail."""
    monkeypatch.setattr(FakeWorker, "calls", [])
    monkeypatch.setattr(search_run, "Worker", FakeWorker)
    rng = np.random.default_rng(2)
    np.save(tmp_path / "toy.npy", rng.random((60, 4), np.float32))
    np.save(tmp_path / "q.npy", rng.random((5, 4), np.float32))

    def run(*more):
        words = ["--datasets", f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2", "--engines", "hnswlib", "whimbrel"]
        words += ["--repetitions", "2", "--out", tmp_path / "out", "--cache", tmp_path / "cache", *more]
        return bench(*words)

    run.worker = FakeWorker
    run.file = results.ResultFile(tmp_path / "out" / "search.jsonl")
    return run


def test_an_interrupted_run_keeps_its_rows_and_goes_on(fake, monkeypatch, capsys):
    monkeypatch.setattr(FakeWorker, "interrupted_at", 5)
    message = fake()
    assert message.startswith("interrupted; finished rows are in ")
    assert len(fake.file.rows("build")) == 3
    assert len(fake.file.rows("sweep")) == 2
    assert len(fake.file.rows("noise")) == 1
    monkeypatch.setattr(FakeWorker, "interrupted_at", None)
    assert fake() is None
    assert len(FakeWorker.calls) == 3 + 3 + 2 * 3  # builds, sweeps, passes: none of them twice
    assert "A/A check passed: whimbrel against itself" in capsys.readouterr().out
    assert fake() is None
    assert len(FakeWorker.calls) == 12


def test_a_termination_is_an_interrupt():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="interrupted; finished rows are kept"):
        harness.main(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) == before


def test_too_few_rows_are_refused(fake, tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((9, 4), np.float32))
    assert "expected at least 10 rows, got 9" in fake("--datasets", f"{tmp_path}/few.npy,{tmp_path}/q.npy,l2")


def test_a_baseline_that_was_not_measured_is_refused(fake):
    assert fake("--baseline", "whimbrel") is None
    assert "baseline: expected one of hnswlib, whimbrel, whimbrel#2, got 'usearch'" in fake(
        "table", "--baseline", "usearch"
    )


def test_other_settings_are_measured_anew(fake):
    assert fake() is None
    assert fake("--M", "8") is None
    assert len(FakeWorker.calls) == 24
    assert fake("--repetitions", "3", "--M", "8") is None
    assert len(FakeWorker.calls) == 24 + 3 + 3  # the third passes, and their indexes, which were gone


def test_an_engine_that_dies_is_a_row_and_harms_nobody(fake, monkeypatch, capsys):
    monkeypatch.setattr(FakeWorker, "dies_in", (("hnswlib", "sweep"),))
    assert fake() is None
    (row,) = fake.file.rows("failed")
    assert (row["engine"], row["step"]) == ("hnswlib", "sweep")
    assert "died in sweep, exit code -9" in capsys.readouterr().out
    assert len(fake.file.rows("pass")) == 4
    monkeypatch.setattr(FakeWorker, "dies_in", ())
    assert fake() is None
    assert "Not complete" not in capsys.readouterr().out


def test_a_missing_library_is_a_row(tmp_path, monkeypatch, in_checkout, capsys):
    """The real processes, on few vectors; whimbrel and NumPy are always there, the other is not."""
    (tmp_path / "shadow").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "shadow"))  # of the processes too
    (tmp_path / "shadow/hnswlib.py").write_text("raise ModuleNotFoundError('it is hidden')")
    np.save(tmp_path / "toy.npy", np.random.default_rng(3).random((500, 4), np.float32))
    np.save(tmp_path / "q.npy", np.random.default_rng(4).random((20, 4), np.float32))
    words = [
        "--quick",
        "--datasets",
        f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2",
        "--cache",
        tmp_path / "cache",
    ]
    assert bench(*words, "--engines", "hnswlib", "whimbrel", "--out", tmp_path / "out") is None
    text = capsys.readouterr().out
    assert "hnswlib (failed in its build: hnswlib: ModuleNotFoundError: it is hidden" in text
    assert "A/A check" in text
    file = results.ResultFile(tmp_path / "out/search.jsonl")
    assert {row["engine"] for row in file.rows("pass")} == {"whimbrel", "whimbrel#2"}
    assert all(row["disk_bytes"] > 500 * 16 for row in file.rows("build"))
    assert not list((tmp_path / "cache/indexes").iterdir())


def test_outside_a_checkout_the_command_says_where_it_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("whimbrel.commands.__file__", str(tmp_path / "a/b/c.py"))
    assert main(["bench", "--quick"]) == 2
    assert "expected the current directory to be in a source checkout" in capsys.readouterr().err
